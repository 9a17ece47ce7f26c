/** The calls of a shim's program that are processes of their own: `start`, `delete`, `-info`. */

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { TsError } from '../errors/index.ts';
import { LEAN_PROCESS } from '../linux/lean-process.ts';

/** What every call of a shim is told of its daemon. */
export interface DaemonAddresses {
  readonly grpc: string;
  readonly ttrpc: string;
  /** The daemon's program, for shims that publish events by executing it. */
  readonly program: string;
}

export interface ShimCall extends ProgramCall {
  readonly verb: 'start' | 'delete';
  readonly namespace: string;
  readonly id: string;
  /** Directory of the bundle: the call's working directory. */
  readonly bundle: string;
  readonly daemon: DaemonAddresses;
  readonly isDebug: boolean;
}

interface ProgramCall {
  readonly binary: string;
  readonly stdin: Uint8Array;
  /** The call is killed after so many milliseconds. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface ShimOutput {
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** More output than this is no answer: the call is killed. */
const MAX_OUTPUT_BYTES = 1 << 20;

/** A call has ended, but something it left behind holds its output open: waited for no longer. */
const OUTPUT_GRACE_MS = 1000;

/**
 * Executes a shim and returns what it printed. Throws FailedPrecondition with the end of its output
 * when it fails, DeadlineExceeded or Canceled when it was killed for that reason.
 * (containerd pkg/shim/util.go)
 */
export async function callShim(call: ShimCall): Promise<ShimOutput> {
  return execute(call, call.verb, shimArguments(call), {
    cwd: call.bundle,
    env: shimEnvironment(call),
  });
}

/**
 * Executes our own shim without `start`, and returns what it printed: it answers as `start` would, and goes on as the
 * shim. That is one start of a program less than `start` takes, which starts the shim as its child. A shim that serves
 * others of the same group already answers for it, and the process ends.
 */
export async function startOwnShim(call: Omit<ShimCall, 'verb'>): Promise<ShimOutput> {
  return execute(
    call,
    'start',
    [
      ...['-namespace', call.namespace, '-id', call.id, '-address', call.daemon.grpc],
      ...(call.isDebug ? ['-debug'] : []),
    ],
    { cwd: call.bundle, env: { ...shimEnvironment(call), ...LEAN_PROCESS }, isStaying: true },
  );
}

/** As many bytes as the arguments of a shim may be longer than those of a spare: its namespace and its id, both short. */
const ARGUMENT_ROOM = 256;

/**
 * Starts our own shim before it is known for what: it waits for that on its standard input. What it is told then becomes
 * its arguments, for which the last of those that it has here leaves room.
 */
export function spawnSpare(
  binary: string,
  daemon: DaemonAddresses,
  signal: AbortSignal,
): ChildProcessWithoutNullStreams {
  const args = ['-address', daemon.grpc, 'spare', ' '.repeat(ARGUMENT_ROOM)];
  return spawn(binary, args, {
    cwd: '/',
    env: { ...shimEnvironment({ daemon, namespace: '' }), ...LEAN_PROCESS },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    killSignal: 'SIGKILL',
    signal,
  });
}

function shimEnvironment({ daemon, namespace }: Pick<ShimCall, 'daemon' | 'namespace'>) {
  return {
    ...inheritedEnvironment(),
    GOMAXPROCS: '2',
    MAX_SHIM_VERSION: '2',
    TTRPC_ADDRESS: daemon.ttrpc,
    GRPC_ADDRESS: daemon.grpc,
    NAMESPACE: namespace,
  };
}

/** Asks a shim about itself and its runtime: protobuf `containerd.types.RuntimeInfo` on stdout. */
export async function callShimInfo(call: ProgramCall): Promise<ShimOutput> {
  return execute(call, '-info', ['-info'], { cwd: '/', env: inheritedEnvironment() });
}

interface Where {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** The process may go on after its answer, in a session of its own. */
  readonly isStaying?: boolean;
}

async function execute(
  call: ProgramCall,
  verb: string,
  args: readonly string[],
  where: Where,
): Promise<ShimOutput> {
  const { isStaying = false, ...options } = where;
  const canceled = new AbortController();
  if (call.signal?.aborted === true) canceled.abort();
  const child = spawn(call.binary, args, {
    ...options,
    detached: isStaying,
    stdio: ['pipe', 'pipe', 'pipe'],
    killSignal: 'SIGKILL',
    signal: canceled.signal,
  });
  return answerOf(child, canceled, call, { verb, isStaying });
}

/**
 * Passes a call's input to a process and returns what it answers, as {@link callShim} does; `canceled` ends the process. One
 * that stays is not ended any more once it has answered: neither by the caller nor by the deadline.
 */
export async function answerOf(
  child: ChildProcessWithoutNullStreams,
  canceled: AbortController,
  call: ProgramCall,
  { verb, isStaying }: { readonly verb: string; readonly isStaying: boolean },
): Promise<ShimOutput> {
  const what = `${call.binary} ${verb}`;
  const cancel = (): void => canceled.abort();
  call.signal?.addEventListener('abort', cancel, { once: true });
  if (call.signal?.aborted === true) cancel();
  const deadline = setTimeout(() => child.kill('SIGKILL'), call.timeoutMs);
  const startedMs = performance.now();
  let hasAnswered = false;
  child.stdout.once('data', () => {
    hasAnswered = true;
  });
  const outputs = [child.stdout, child.stderr].map((stream) => collect(stream, () => child.kill()));
  child.stdin.on('error', () => {}); // a shim may end without reading its input
  child.stdin.end(call.stdin);
  const exited = await new Promise<{ code: number | null; signal: string | null }>(
    (resolve, reject) => {
      child.once('error', (cause) => reject(spawnError(cause, what)));
      child.once('exit', (code, signal) => resolve({ code, signal }));
      // All output is in before `close`; it does not come while another process holds a pipe.
      child.once('close', (code, signal) => resolve({ code, signal }));
      // One that stays has closed its output behind its answer.
      if (isStaying)
        child.stdout.once('end', () => hasAnswered && resolve({ code: 0, signal: null }));
    },
  ).finally(() => {
    clearTimeout(deadline);
    call.signal?.removeEventListener('abort', cancel);
  });
  child.unref();
  const grace = setTimeout(() => {
    child.stdout.destroy();
    child.stderr.destroy();
  }, OUTPUT_GRACE_MS);
  const [stdout, stderr] = await Promise.all(outputs);
  clearTimeout(grace);
  const text = (stderr ?? Buffer.alloc(0)).toString('utf8').trim();
  if (exited.code === 0 && stdout !== undefined) return { stdout, stderr: text };
  if (exited.signal !== null && performance.now() - startedMs >= call.timeoutMs) {
    throw new TsError('DeadlineExceeded', `${what}: no answer after ${call.timeoutMs} ms`, {
      code: 'TS_SHIM_TIMEOUT',
    });
  }
  const how = exited.code === null ? `killed by ${exited.signal}` : `exit status ${exited.code}`;
  const said = lastLines(`${stdout?.toString('utf8') ?? ''}\n${text}`);
  throw new TsError('FailedPrecondition', `${what}: ${said === '' ? how : `${said}: ${how}`}`, {
    code: 'TS_SHIM_CALL',
  });
}

function shimArguments(call: ShimCall): string[] {
  return [
    ...['-namespace', call.namespace, '-address', call.daemon.grpc],
    ...['-publish-binary', call.daemon.program, '-id', call.id],
    ...(call.verb === 'delete' ? ['-bundle', call.bundle] : []),
    ...(call.isDebug ? ['-debug'] : []),
    call.verb,
  ];
}

/** Variables that make a Node process load code or write files: not for programs that we start. */
const NODE_VARIABLES = /^(NODE_|OPENSSL_|SSL_CERT_)/;

function inheritedEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !NODE_VARIABLES.test(name));
  return Object.fromEntries(kept);
}

function collect(stream: NodeJS.ReadableStream, onTooMuch: () => void): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    stream.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= MAX_OUTPUT_BYTES) chunks.push(chunk);
      else onTooMuch();
    });
    stream.on('error', () => {}); // `close` follows
    stream.on('close', () => resolve(Buffer.concat(chunks)));
  });
}

function spawnError(cause: Error, what: string): TsError {
  return cause.name === 'AbortError'
    ? new TsError('Canceled', `${what}: context canceled`, { cause })
    : TsError.from(cause, what);
}

/** The last lines of a text, without escape sequences: what a person should see of a failure. */
function lastLines(text: string): string {
  const printable = text.replaceAll(/(?!\n)\p{Cc}/gu, ' ');
  return printable.trim().split('\n').slice(-5).join('; ').slice(-1000);
}
