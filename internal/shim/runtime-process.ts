/**
 * {@link RuntimeClient} over a runtime's binary: one process for each operation, with the arguments
 * of runc's command line.
 *
 * The files it exchanges with the runtime are small and in the bundle, on a tmpfs: a synchronous
 * call takes some microseconds there, while each of the dozen that an exec needs would wait twice
 * for a thread.
 */
import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { type ChildRegistry, type CommandResult, runCommand } from './command.ts';
import type {
  RuntimeCheckpointOptions,
  RuntimeClient,
  RuntimeCreateOptions,
  RuntimeExecOptions,
  RuntimeStdio,
} from './runtime-client.ts';
import { runtimeError } from './runtime-log.ts';
import { withoutCode } from './without-code.ts';

export interface RuntimeProcessOptions {
  /** A path or a name on PATH. */
  readonly binary: string;
  /** The runtime's state directory. */
  readonly root: string;
  /** Where its log files are written and where it runs. */
  readonly bundle: string;
  readonly hasSystemdCgroup: boolean;
  readonly isDebug: boolean;
}

interface Run {
  /** Ends the program when it is aborted. */
  readonly signal?: AbortSignal;
  readonly stdio?: RuntimeStdio;
  /** A log file to keep; others go when they have been read. */
  readonly logPath?: string;
}

export class RuntimeProcess implements RuntimeClient {
  readonly #options: RuntimeProcessOptions;
  readonly #children: ChildRegistry;
  #runs = 0;

  constructor(options: RuntimeProcessOptions, children: ChildRegistry) {
    this.#options = options;
    this.#children = children;
  }

  async create(id: string, options: RuntimeCreateOptions): Promise<number> {
    const { restoreFrom } = options;
    const args = restoreFrom === undefined ? ['create'] : restoreArguments(restoreFrom);
    args.push('--bundle', options.bundle, '--pid-file', options.pidFile);
    args.push(...consoleArguments(options.stdio));
    if (options.noPivotRoot) args.push('--no-pivot');
    if (options.noNewKeyring && restoreFrom === undefined) args.push('--no-new-keyring');
    const logPath = join(this.#options.bundle, 'log.json');
    const { stdio, signal } = options;
    await this.#run([...args, id], { stdio, logPath, signal });
    try {
      return readPidFile(options.pidFile);
    } catch (thrown) {
      throw await this.#discard(id, TsError.from(thrown)); // there is a container that nobody knows
    }
  }

  async #discard(id: string, error: TsError): Promise<TsError> {
    try {
      await this.delete(id, { force: true });
    } catch (failure) {
      error.cleanup.push(TsError.from(failure));
    }
    return error;
  }

  async start(id: string): Promise<void> {
    await this.#run(['start', id]);
  }

  async exec(id: string, options: RuntimeExecOptions): Promise<number> {
    const specPath = `${options.pidFile}.json`;
    writeFileSync(specPath, options.processSpec, { mode: 0o600, flag: 'wx' });
    try {
      const args = ['exec', '--process', specPath, '--detach', '--pid-file', options.pidFile];
      args.push(...consoleArguments(options.stdio), id);
      await this.#run(args, { stdio: options.stdio, signal: options.signal });
      return readPidFile(options.pidFile);
    } finally {
      unlinkIfThere(specPath);
      unlinkIfThere(options.pidFile);
    }
  }

  async kill(id: string, signal: number, options: { all?: boolean } = {}): Promise<void> {
    await this.#run(['kill', ...(options.all === true ? ['--all'] : []), id, String(signal)]);
  }

  async delete(id: string, options: { force?: boolean } = {}): Promise<void> {
    await this.#run(['delete', ...(options.force === true ? ['--force'] : []), id]);
  }

  async pause(id: string): Promise<void> {
    await this.#run(['pause', id]);
  }

  async resume(id: string): Promise<void> {
    await this.#run(['resume', id]);
  }

  async update(id: string, resources: string): Promise<void> {
    // A file, for not every runtime can open what Node makes of a child's stdin.
    const path = join(this.#options.bundle, `resources-${++this.#runs}.json`);
    writeFileSync(path, resources, { mode: 0o600 });
    try {
      await this.#run(['update', '--resources', path, id]);
    } finally {
      unlinkIfThere(path);
    }
  }

  async processes(id: string): Promise<number[]> {
    const { stdout } = await this.#run(['ps', '--format', 'json', id]);
    const pids: unknown = parseJson(stdout);
    if (pids === null) return []; // Go's encoding of an empty list
    if (Array.isArray(pids) && pids.every(Number.isSafeInteger)) return pids as number[];
    throw new TsError(
      'Unknown',
      `OCI runtime ps failed: no list of pids in ${stdout.slice(0, 80)}`,
    );
  }

  async checkpoint(id: string, options: RuntimeCheckpointOptions): Promise<void> {
    const args = ['checkpoint', '--image-path', options.imagePath, '--work-path', options.workPath];
    if (options.parentPath !== '') args.push('--parent-path', options.parentPath);
    if (options.leaveRunning) args.push('--leave-running');
    if (options.openTcp) args.push('--tcp-established');
    if (options.externalUnixSockets) args.push('--ext-unix-sk');
    if (options.terminal) args.push('--shell-job');
    if (options.fileLocks) args.push('--file-locks');
    for (const namespace of options.emptyNamespaces) args.push('--empty-ns', namespace);
    if (options.cgroupsMode !== '') args.push('--manage-cgroups-mode', options.cgroupsMode);
    await this.#run([...args, id]);
  }

  async features(): Promise<string | undefined> {
    try {
      const { stdout } = await this.#run(['features']);
      return parseJson(stdout) === undefined ? undefined : stdout;
    } catch (thrown) {
      if (TsError.from(thrown).code === 'TS_RUNTIME_FAILED') return undefined;
      throw thrown;
    }
  }

  async #run(args: readonly string[], run: Run = {}): Promise<CommandResult> {
    const { binary, root, bundle, hasSystemdCgroup, isDebug } = this.#options;
    const [command = ''] = args;
    const logPath = run.logPath ?? join(bundle, `log-${++this.#runs}.json`);
    const global = ['--root', root, '--log', logPath, '--log-format', 'json'];
    if (isDebug) global.push('--debug');
    if (hasSystemdCgroup) global.push('--systemd-cgroup');
    try {
      const result = await runCommand(this.#children, binary, [...global, ...args], {
        cwd: bundle,
        stdio: streams(run.stdio),
        ...(run.signal === undefined ? {} : { signal: run.signal }),
      });
      if (result.code === 0) return result;
      const log = readIfThere(logPath);
      const { code, signal } = result;
      throw runtimeError({ command, log, output: result.stderr || result.stdout, code, signal });
    } catch (thrown) {
      const error = TsError.from(thrown);
      if (error.code !== 'TS_RUNTIME_NOT_EXECUTABLE') throw error;
      throw withoutCode(`OCI runtime ${command} failed`, error);
    } finally {
      if (run.logPath === undefined) unlinkIfThere(logPath);
    }
  }
}

/** A process's own streams are never captured: it may outlive the runtime by years. */
function streams(stdio: RuntimeStdio | undefined) {
  if (stdio === undefined) return [undefined, 'capture', 'capture'] as const;
  if ('consoleSocket' in stdio) return [undefined, undefined, undefined] as const;
  return [stdio.stdin, stdio.stdout, stdio.stderr] as const;
}

function consoleArguments(stdio: RuntimeStdio): string[] {
  return 'consoleSocket' in stdio ? ['--console-socket', stdio.consoleSocket] : [];
}

function restoreArguments(images: { imagePath: string; workPath: string }): string[] {
  return [
    'restore',
    '--detach',
    '--no-subreaper',
    '--image-path',
    images.imagePath,
    '--work-path',
    images.workPath,
  ];
}

/** Reads a pid that a runtime has written. */
export function readPidFile(path: string): number {
  const text = readFileSync(path, 'utf8');
  const pid = /^\d{1,10}$/.test(text.trim()) ? Number(text) : 0;
  if (pid > 0) return pid;
  throw new TsError('Unknown', `pid file ${path}: ${JSON.stringify(text.slice(0, 40))} is no pid`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the caller says what was expected
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    if (errnoNameOf(thrown) === 'ENOENT') return ''; // it ended before it logged anything
    throw thrown;
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (thrown) {
    if (errnoNameOf(thrown) !== 'ENOENT') throw thrown;
  }
}
