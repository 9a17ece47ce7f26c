import { type ChildProcess, spawn } from 'node:child_process';
import { TsError } from '../errors/index.ts';

export interface CommandOptions {
  readonly cwd: string;
  /** What 0, 1 and 2 are; undefined is /dev/null, `capture` returns what is written. */
  readonly stdio: readonly [number | undefined, Stream, Stream];
  /** The program is killed when it is aborted. */
  readonly signal?: AbortSignal;
}

type Stream = number | undefined | 'capture';

export interface CommandResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How long a program that was killed may take to die: one that waits for a disk may take for ever. */
const DEATH_MS = 5_000;

/** More output than this of a command is thrown away: nothing it prints is that long. */
const MAX_OUTPUT_BYTES = 4 << 20;

/**
 * The children that others than the reaper reap: those that libuv has spawned, for it would wait for
 * them for ever, and those of an operation under way, whose pids must stay theirs.
 */
export class ChildRegistry {
  readonly #pids = new Set<number>();
  #onExit: () => void = () => {};

  has(pid: number): boolean {
    return this.#pids.has(pid);
  }

  /** Called when a child is not to be left alone any more. */
  onExit(listener: () => void): void {
    this.#onExit = listener;
  }

  /** Leaves a child to the caller, who reaps it or not, until {@link release}. */
  hold(pid: number): void {
    this.#pids.add(pid);
  }

  release(pid: number): void {
    if (this.#pids.delete(pid)) this.#onExit();
  }

  /** Adds a child in the turn in which it was spawned. */
  add(child: ChildProcess): void {
    const { pid } = child;
    if (pid === undefined) return;
    this.#pids.add(pid);
    child.once('exit', () => {
      this.#pids.delete(pid);
      this.#onExit();
    });
  }
}

/**
 * Runs a program to its end. Rejects with NotFound or PermissionDenied when it cannot be executed, with
 * DeadlineExceeded when it was to be ended and does not die; a failure of its own is in the result.
 */
export async function runCommand(
  children: ChildRegistry,
  file: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  const [stdin, stdout, stderr] = options.stdio;
  const child = spawn(file, args, {
    cwd: options.cwd,
    env: environmentOfChildren(process.env),
    stdio: [stdin ?? 'ignore', streamOption(stdout), streamOption(stderr)],
  });
  children.add(child);
  const out = collect(child.stdout);
  const err = collect(child.stderr);
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  let timer: NodeJS.Timeout | undefined;
  const end = () => {
    child.kill('SIGKILL');
    timer = setTimeout(() => reject(unkillable(file, child.pid)), DEATH_MS);
  };
  if (options.signal?.aborted === true) end();
  else options.signal?.addEventListener('abort', end);
  child.once('error', (cause) => reject(cannotExecute(file, options.cwd, cause)));
  child.once('close', (code, signal) => {
    resolve({ code, signal, stdout: out(), stderr: err() });
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', end);
  }
}

function unkillable(file: string, pid = 0): TsError {
  return new TsError('DeadlineExceeded', `${file}: process ${pid} does not die of SIGKILL`, {
    code: 'TS_RUNTIME_UNKILLABLE',
    advice: `look at /proc/${pid}/stack for what it waits for`,
    fields: { signal: 'SIGKILL' },
  });
}

const streamOption = (stream: Stream): number | 'ignore' | 'pipe' => {
  return stream === 'capture' ? 'pipe' : (stream ?? 'ignore');
};

function collect(stream: NodeJS.ReadableStream | null): () => string {
  const chunks: Buffer[] = [];
  let length = 0;
  stream?.on('data', (chunk: Buffer) => {
    if (length < MAX_OUTPUT_BYTES) chunks.push(chunk);
    length += chunk.length;
  });
  return () => Buffer.concat(chunks).toString();
}

function cannotExecute(file: string, cwd: string, cause: unknown): TsError {
  const errno = (cause as NodeJS.ErrnoException).code ?? String(cause);
  const details = { code: 'TS_RUNTIME_NOT_EXECUTABLE', cause, fields: { path: file, cwd, errno } };
  if (errno !== 'ENOENT')
    return new TsError('PermissionDenied', `execute ${file}: ${errno}`, details);
  return new TsError('NotFound', `execute ${file}: ${errno}`, {
    ...details,
    advice: file.includes('/')
      ? 'install it, or correct BinaryName in the runtime options'
      : "put it into a directory of the daemon's PATH, or set BinaryName in the runtime options",
  });
}

/** Variables by which Node loads code or writes files: meant for us at most, never for a child. */
const NODE_VARIABLES = /^(NODE_|OPENSSL_CONF$|SSL_CERT_|UV_)/;

/** The environment that runtimes and loggers get. */
export function environmentOfChildren(
  environment: Readonly<NodeJS.ProcessEnv>,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && !NODE_VARIABLES.test(name)) kept[name] = value;
  }
  return kept;
}
