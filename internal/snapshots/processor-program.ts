/**
 * One run of a stream processor: the stored layer on stdin, the processed one on stdout, and on descriptor 3 what
 * the client gave for it (containerd docs/stream_processors.md). It ends with its whole process group, and with the daemon,
 * be that killed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { type FileHandle, open } from 'node:fs/promises';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { GroupGuard } from '../linux/group-guard.ts';
import { createMemfd } from '../linux/memfd.ts';

/** How often the size of what a processor writes is looked at. */
const SIZE_CHECK_MS = 100;
/** How long the last words of a processor that has ended are waited for, when a process that left its group has its stderr. */
const LAST_WORDS_MS = 1000;
/** As much of the end of stderr as an error shows, in characters. */
const STDERR_SHOWN = 400;

export interface ProcessorProgram {
  readonly path: string;
  readonly args: readonly string[];
  /** `KEY=value`, beside the daemon's own. */
  readonly env: readonly string[];
}

export interface ProcessorRun {
  /** What a failure is told as: names the processor and what it was given. */
  readonly what: string;
  readonly mediaType: string;
  /** The blob; its offset is neither used nor moved. */
  readonly input: number;
  /** An empty file. */
  readonly output: FileHandle;
  readonly payload: Uint8Array | undefined;
  /** Most bytes of output. */
  readonly maxBytes: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Runs a processor to its end. FailedPrecondition when it cannot be started or ends with another status than 0,
 * ResourceExhausted when it writes too much, Canceled when it was killed since nobody waits for it any more.
 */
export async function runProcessor(program: ProcessorProgram, run: ProcessorRun): Promise<void> {
  if (run.signal?.aborted) throw new TsError('Canceled', 'context canceled');
  // Opened anew: the descriptors of blobs are shared, and with them an offset.
  await using input = await open(`/proc/self/fd/${run.input}`, 'r');
  // In memory: a payload may hold keys.
  using memory = run.payload && createMemfd('stream-processor-payload', run.payload);
  await using payload = memory && (await open(`/proc/self/fd/${memory.number}`, 'r'));
  const child = spawn(program.path, program.args, {
    env: { ...process.env, ...variables(program.env), STREAM_PROCESSOR_MEDIATYPE: run.mediaType },
    stdio: [input.fd, run.output.fd, 'pipe', ...(payload === undefined ? [] : [payload.fd])],
    detached: true, // a group of its own, with what it starts
  });
  using _guard = guardOf(child);
  await watch(child, program, run);
}

/** Undefined when there is no process. */
function guardOf(child: ChildProcess): GroupGuard | undefined {
  if (child.pid === undefined) return undefined;
  try {
    return new GroupGuard(child.pid);
  } catch (error) {
    killGroup(child);
    throw error;
  }
}

async function watch(
  child: ChildProcess,
  program: ProcessorProgram,
  { what, output, maxBytes, signal }: ProcessorRun,
): Promise<void> {
  let refusal: TsError | undefined;
  const stop = (error: TsError): void => {
    refusal ??= error;
    killGroup(child);
  };
  const abort = (): void => stop(new TsError('Canceled', 'context canceled'));
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort(); // while files were opened
  const timer = setInterval(() => {
    output.stat().then(
      ({ size }) => {
        if (size > maxBytes) stop(tooLarge(what, maxBytes));
      },
      (error: unknown) => stop(TsError.from(error, `${what}: look at its output`)),
    );
  }, SIZE_CHECK_MS);
  try {
    const { status, stderr } = await ended(child).catch((error: unknown) => {
      throw notStarted(error, what, program.path);
    });
    if (refusal !== undefined) throw refusal;
    if (status !== 0) throw failed(what, status, stderr);
  } finally {
    clearInterval(timer);
    signal?.removeEventListener('abort', abort);
  }
  const { size } = await output.stat();
  if (size > maxBytes) throw tooLarge(what, maxBytes);
}

/** Waits for a process, ends what it left in its group, and returns the end of what it said. */
function ended(child: ChildProcess): Promise<{ status: number | string; stderr: string }> {
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-STDERR_SHOWN);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signalName) => {
      killGroup(child);
      const status = code ?? signalName ?? 'no status';
      const done = (): void => {
        clearTimeout(timer);
        child.stderr?.destroy();
        resolve({ status, stderr });
      };
      const timer = setTimeout(done, LAST_WORDS_MS);
      child.once('close', done);
    });
  });
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (errnoNameOf(error) !== 'ESRCH') throw error; // all have ended
  }
}

/** `KEY=value` as an object; one without `=` is a variable without a value. */
function variables(env: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    env.map((entry) => {
      const [key = '', ...value] = entry.split('=');
      return [key, value.join('=')];
    }),
  );
}

const CODE = 'TS_STREAM_PROCESSOR';

function notStarted(error: unknown, what: string, path: string): TsError {
  const errno = errnoNameOf(error) ?? TsError.from(error).message;
  return new TsError('FailedPrecondition', `${what}: run ${path}: ${errno}`, {
    code: CODE,
    cause: error,
    advice:
      errno === 'ENOENT'
        ? `install ${path} on the daemon's PATH, or set its path in stream_processors`
        : `look whether ${path} can be run by the daemon`,
  });
}

function failed(what: string, status: number | string, stderr: string): TsError {
  const how = typeof status === 'number' ? `exit status ${status}` : status;
  const words = stderr.trim().replace(/\s*\n\s*/g, '; ');
  const text = words === '' ? `${what}: ${how}` : `${what}: ${how}: ${words}`;
  return new TsError('FailedPrecondition', text, { code: CODE, fields: { status } });
}

function tooLarge(what: string, maxBytes: number): TsError {
  return new TsError('ResourceExhausted', `${what}: it writes more than ${maxBytes} bytes`, {
    code: 'TS_LAYER_TOO_LARGE',
    advice: "free space on the file system of the daemon's root, or distrust the image",
  });
}
