/**
 * `start`: answers with the address of a shim for a task, one that is there already or a new one.
 *
 * The socket is bound and listening before the serving process has loaded its first module, so the
 * daemon may connect at once; its request waits in the socket's queue.
 */

import { spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { isatty } from 'node:tty';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { listenUnix, OpenFlag, OwnedFd, runBlocking } from '../linux/index.ts';
import { LEAN_PROCESS } from '../linux/lean-process.ts';
import {
  answerForm,
  type BootstrapInput,
  encodeAnswer,
  MAX_BOOTSTRAP_BYTES,
  parseBootstrapInput,
  taskApiVersion,
} from './bootstrap.ts';
import { writeStartOptions } from './bundle-files.ts';
import { environmentOfChildren } from './command.ts';
import { reexecArguments } from './reexec.ts';
import { parseRuntimeOptions } from './runtime-options.ts';
import type { ShimFlags } from './shim-flags.ts';
import {
  annotationsOf,
  DEFAULT_SOCKET_DIRECTORY,
  groupOf,
  pathOfAddress,
  socketPath,
} from './socket-address.ts';
import { isShimListening, lockSocketDirectory } from './socket-probe.ts';

const BACKLOG = 128;
const STDIN = 0;

/** Does what `start` has to do in the bundle, the working directory; returns the bytes for stdout. */
export async function start(flags: ShimFlags): Promise<Uint8Array> {
  const bundle = process.cwd();
  const input = parseBootstrapInput(readStdin(), flags.id, flags.namespace);
  const path = addressPath(flags, input, bundle);
  if (input.options !== undefined) writeStartOptions(bundle, input.options);
  await ensureShim(path, async (listener) => {
    using own = listener;
    await launch(own, path, flags, input);
  });
  return answer(bundle, path, input);
}

/** A shim that {@link startInPlace} has found, or that this process is to be. */
export interface Started {
  /** Bytes for stdout. */
  readonly answer: Uint8Array;
  /** Address of the socket: `unix://PATH`. */
  readonly address: string;
  /** The socket to serve; undefined when another shim serves it. */
  readonly listener: OwnedFd | undefined;
}

/**
 * What `start` does, but for a daemon of ours, which calls the serving process without it: that spares a pod the start
 * of one program. This process becomes the shim, unless there is one for the group already.
 */
export async function startInPlace(flags: ShimFlags, stdin = readStdin()): Promise<Started> {
  const bundle = process.cwd();
  const input = parseBootstrapInput(stdin, flags.id, flags.namespace);
  const path = addressPath(flags, input, bundle);
  if (input.options !== undefined) writeStartOptions(bundle, input.options);
  let listener: OwnedFd | undefined;
  await ensureShim(path, async (bound) => {
    listener = bound;
    const { shimCgroup } = await parseRuntimeOptions(input.options);
    if (shimCgroup !== '') await joinCgroup(shimCgroup, process.pid);
    raiseOomScore(process.pid);
  });
  return { answer: answer(bundle, path, input), address: `unix://${path}`, listener };
}

function answer(bundle: string, path: string, input: BootstrapInput): Uint8Array {
  const address = `unix://${path}`;
  // containerd 1.x finds the shim again by this file, later ones by their own.
  writeFileSync(join(bundle, 'address'), address, { mode: 0o600 });
  return encodeAnswer(answerForm(input, process.env), address, taskApiVersion(bundle));
}

/** The daemon's pipes are done with: nothing is read or printed any more, and errors go into the log. */
export function leaveStandardStreams(): void {
  for (const [fd, flags] of [
    [0, OpenFlag.O_RDONLY],
    [1, OpenFlag.O_WRONLY],
    [2, OpenFlag.O_WRONLY],
  ] as const) {
    closeSync(fd);
    // The lowest number that is free is the one that was closed.
    const opened = fd === 2 ? openLogFifo()?.release() : undefined;
    if (opened === undefined) openSync('/dev/null', flags);
  }
}

function addressPath(flags: ShimFlags, input: BootstrapInput, bundle: string): string {
  if (flags.socket !== '') return pathOfAddress(flags.socket);
  const group = groupOf(flags.id, annotationsOf(readConfig(bundle)));
  const owner = { daemonAddress: flags.address, namespace: flags.namespace, group };
  return socketPath(owner, input.params?.socketDir);
}

/** The text of config.json, which the bundle of a sandbox need not have. */
function readConfig(bundle: string): string {
  try {
    return readFileSync(join(bundle, 'config.json'), 'utf8');
  } catch (thrown) {
    if (errnoNameOf(thrown) === 'ENOENT') return '{}';
    throw thrown;
  }
}

/** Makes sure that a shim answers at `path`, or calls `serve`. Only one `start` at a time looks and binds. */
async function ensureShim(
  path: string,
  serve: (listener: OwnedFd) => Promise<void>,
): Promise<void> {
  const directory = dirname(path);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  // Whoever made it first: nobody else may enter (CVE-2020-15257).
  if (directory === DEFAULT_SOCKET_DIRECTORY) chmodSync(directory, 0o700);
  using _lock = lockSocketDirectory(path);
  if (await isShimListening(path)) return;
  const listener = bind(path);
  try {
    await serve(listener);
  } catch (thrown) {
    rmSync(path, { force: true });
    throw thrown;
  }
}

function bind(path: string): OwnedFd {
  const before = process.umask(0o177);
  try {
    return listenUnix(path, BACKLOG);
  } finally {
    process.umask(before);
  }
}

/** Starts the serving process: a session of its own, no terminal, the bundle as its directory. */
async function launch(
  listener: OwnedFd,
  path: string,
  flags: ShimFlags,
  input: BootstrapInput,
): Promise<void> {
  const { shimCgroup } = await parseRuntimeOptions(input.options);
  const args = ['-namespace', flags.namespace, '-id', flags.id, '-address', flags.address];
  args.push('-socket', `unix://${path}`);
  if (flags.isDebug) args.push('-debug');
  const ttrpcAddress = input.params?.containerdTtrpcAddress;
  using log = openLogFifo();
  const child = spawn(process.execPath, [...reexecArguments(), ...args], {
    detached: true,
    stdio: ['ignore', 'ignore', log?.number ?? 'ignore', listener.number],
    env: {
      ...environmentOfChildren(process.env),
      ...LEAN_PROCESS,
      ...(ttrpcAddress === undefined || ttrpcAddress === '' ? {} : { TTRPC_ADDRESS: ttrpcAddress }),
    },
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause) => reject(TsError.from(cause, 'start the serving process')));
  });
  const { pid } = child;
  if (pid === undefined) throw new TsError('Internal', 'internal error: spawned without a pid');
  child.unref();
  if (shimCgroup !== '') await joinCgroup(shimCgroup, pid);
  raiseOomScore(pid);
}

/** Moves the serving process into the cgroup of the option ShimCgroup, which is made if need be. */
async function joinCgroup(cgroupsPath: string, pid: number): Promise<void> {
  const { locateCgroup } = await import('../cgroups/index.ts');
  const cgroup = locateCgroup({ id: '', cgroupsPath });
  if (!cgroup.exists()) runBlocking(cgroup.create({}));
  runBlocking(cgroup.join(pid));
}

/** The daemon is to be killed before a shim, whose death orphans containers: its score plus one. */
function raiseOomScore(pid: number): void {
  const score = Number(readFileSync(`/proc/${process.ppid}/oom_score_adj`, 'utf8'));
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(Math.min(score + 1, 1000)));
  } catch (thrown) {
    // Lowering takes CAP_SYS_RESOURCE, which a daemon in a container does not have.
    if (errnoNameOf(thrown) !== 'EACCES') throw thrown;
  }
}

/**
 * The fifo that the daemon reads before it calls. Opened for reading, too (man 7 fifo): what is written while the daemon is
 * away stays in it, as much as it holds, for the next one.
 */
function openLogFifo(): OwnedFd | undefined {
  try {
    return new OwnedFd(openSync('log', OpenFlag.O_RDWR | OpenFlag.O_NONBLOCK));
  } catch (thrown) {
    if (errnoNameOf(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
}

function readStdin(): Uint8Array {
  if (isatty(STDIN)) return new Uint8Array(0); // somebody tries the command by hand
  const chunks: Buffer[] = [];
  for (let length = 0; length <= MAX_BOOTSTRAP_BYTES; ) {
    const chunk = Buffer.alloc(64 << 10);
    const read = readSync(STDIN, chunk);
    if (read === 0) return Buffer.concat(chunks);
    chunks.push(chunk.subarray(0, read));
    length += read;
  }
  throw new TsError('InvalidArgument', `stdin of start: more than ${MAX_BOOTSTRAP_BYTES} bytes`);
}
