import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { isObject } from './cni-config.ts';

export type CniCommand = 'ADD' | 'CHECK' | 'DEL' | 'STATUS';

/** What one call of a plugin is about (CNI specification, section 2: parameters). */
export interface CniCall {
  readonly command: CniCommand;
  /** Of the pod; STATUS, which is about none, leaves the rest out. */
  readonly containerId?: string;
  readonly netns?: string;
  readonly ifName?: string;
  readonly args?: string;
}

/** Where plugins are, and how long they may take. */
export interface CniPlugins {
  readonly binDirs: readonly string[];
  readonly timeoutMs: number;
}

/** A plugin answers soon or is taken for hung: a kubelet gives a pod four minutes. */
export const PLUGIN_TIMEOUT_MS = 60_000;
/** More is no result of a plugin. */
const MAX_OUTPUT_BYTES = 1024 * 1024;
/** How long output is waited for after a plugin has ended: what it started may hold its pipes open for ever. */
const DRAIN_MS = 1000;

/**
 * Runs a plugin with `config` on its stdin and returns the result that it prints; undefined when it prints none, as for DEL.
 * When `signal` aborts or the time is over, it is killed with whatever it has started.
 *
 * Throws NotFound for a plugin that is in none of the directories, DeadlineExceeded, Canceled; else an error with the
 * plugin's own words.
 */
export async function runPlugin(
  type: string,
  { binDirs, timeoutMs }: CniPlugins,
  call: CniCall,
  config: Readonly<Record<string, unknown>>,
  signal?: AbortSignal,
): Promise<Record<string, unknown> | undefined> {
  const what = `CNI plugin ${type} ${call.command}`;
  const path = findPlugin(type, binDirs);
  const variables = {
    CNI_COMMAND: call.command,
    CNI_CONTAINERID: call.containerId,
    CNI_NETNS: call.netns,
    CNI_IFNAME: call.ifName,
    CNI_ARGS: call.args,
    CNI_PATH: binDirs.join(':'),
  };
  // All of the daemon's environment, as libcni does: a plugin runs iptables, which may need some of it.
  const child = spawn(path, [], { env: { ...process.env, ...variables }, detached: true });
  const { end, stdout, stderr } = await new PluginRun(child, path, what).output(
    JSON.stringify(config),
    timeoutMs,
    signal,
  );
  if (end !== 0) throw pluginError(what, end, stdout, stderr);
  if (stdout.trim() === '') return undefined;
  const result = parseObject(stdout);
  if (result === undefined) {
    throw new TsError('Unknown', `${what}: printed no JSON object: ${shortened(stdout)}`);
  }
  return result;
}

function findPlugin(type: string, binDirs: readonly string[]): string {
  for (const directory of binDirs) {
    const path = join(directory, type);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // looked for in the next directory
    }
  }
  throw new TsError('NotFound', `CNI plugin ${JSON.stringify(type)} in ${binDirs.join(':')}`, {
    code: 'TS_CNI_NO_PLUGIN',
    advice: 'install the CNI plugins, or set bin_dir',
  });
}

interface Output {
  /** Exit code, or how else it ended. */
  readonly end: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** A plugin that runs, as the leader of a process group of its own. */
class PluginRun {
  readonly #child: ChildProcess;
  readonly #path: string;
  readonly #what: string;
  readonly #chunks: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
  #bytes = 0;
  #problem: TsError | undefined;

  constructor(child: ChildProcess, path: string, what: string) {
    this.#child = child;
    this.#path = path;
    this.#what = what;
  }

  output(input: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<Output> {
    const child = this.#child;
    const timer = setTimeout(
      () =>
        this.#end(
          new TsError('DeadlineExceeded', `${this.#what}: no answer in ${timeoutMs / 1000} s`),
        ),
      timeoutMs,
    );
    const abort = (): void => this.#end(new TsError('Canceled', `${this.#what}: caller has gone`));
    signal?.addEventListener('abort', abort, { once: true });
    if (signal?.aborted === true) abort();
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.on('data', (chunk: Buffer) => this.#take(name, chunk));
      child[name]?.on('error', () => undefined); // it is closed, and the exit code tells
    }
    // A plugin that does not read its configuration tells so by its exit code.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
    const settled = new Promise<Output>((resolve, reject) => {
      child.once('error', (error) => reject(TsError.from(error, `execute ${this.#path}`)));
      child.once('exit', () => {
        const drain = setTimeout(() => this.#closePipes(), DRAIN_MS);
        child.once('close', () => clearTimeout(drain));
      });
      child.once('close', (code, name) => {
        if (this.#problem !== undefined) reject(this.#problem);
        else resolve({ end: code ?? `signal ${name}`, ...this.#texts() });
      });
    });
    return settled.finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    });
  }

  #take(name: 'stdout' | 'stderr', chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes <= MAX_OUTPUT_BYTES) this.#chunks[name].push(chunk);
    else this.#end(new TsError('ResourceExhausted', `${this.#what}: output beyond 1 MiB`));
  }

  #texts(): { stdout: string; stderr: string } {
    const text = (name: 'stdout' | 'stderr') => Buffer.concat(this.#chunks[name]).toString('utf8');
    return { stdout: text('stdout'), stderr: text('stderr') };
  }

  /** Kills the plugin and its children, which would go on with what it was told to do. */
  #end(problem: TsError): void {
    if (this.#problem !== undefined) return;
    this.#problem = problem;
    const { pid } = this.#child;
    if (pid === undefined) return; // it could not be executed
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // the whole group has ended
    }
    this.#closePipes();
  }

  #closePipes(): void {
    for (const stream of [this.#child.stdin, this.#child.stdout, this.#child.stderr]) {
      stream?.destroy();
    }
  }
}

/** The error object of the specification (section 5), else whatever the plugin said. */
function pluginError(what: string, end: number | string, stdout: string, stderr: string): TsError {
  const error = parseObject(stdout);
  const message = typeof error?.['msg'] === 'string' ? error['msg'] : '';
  const details = typeof error?.['details'] === 'string' ? error['details'] : '';
  const text = [message, details].filter((part) => part !== '').join('; ');
  const said = text !== '' ? text : shortened(stderr.trim() || stdout.trim());
  return new TsError(
    'Unknown',
    `${what}: ${said || (typeof end === 'number' ? `exit code ${end}` : end)}`,
    {
      code: 'TS_CNI_PLUGIN',
    },
  );
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // whoever asks says what was printed
  }
}

const shortened = (text: string): string => (text.length > 500 ? `${text.slice(0, 500)}…` : text);
