/**
 * Work that has to wait now and then, written once for two kinds of process: a command that has
 * nothing else to do and blocks, and a server whose event loop must not.
 *
 * An operation is a generator. It yields what it waits for and is resumed with the outcome:
 *
 *     function* readLine(fd: number): Operation<string> {
 *       yield* readable(fd);
 *       return …;
 *     }
 *     runBlocking(readLine(fd));
 *
 * Between two waits nothing else happens in the process, as in any synchronous code. A driver that
 * wants an operation to end throws into the wait, and the operation cleans up after itself.
 */
import { TsError } from '../errors/index.ts';
import { openPidfd } from './pidfd.ts';
import { blockUntilReadable } from './poll.ts';
import { type ExitedChild, reap, waitForChild } from './wait.ts';

/** What an operation waits for, or tells its driver. */
export type Wait =
  /** That reading from `fd` does not block; resumed with false after `timeoutMs`. */
  | { readonly until: 'readable'; readonly fd: number; readonly timeoutMs: number | undefined }
  /** The end of a child, which is reaped; resumed with its exit, undefined when it is no child. */
  | { readonly until: 'exit'; readonly pid: number; readonly timeoutMs: number | undefined }
  | { readonly until: 'time'; readonly ms: number }
  /** Resumed with its value; for what is not the kernel's. */
  | { readonly until: 'settled'; readonly promise: Promise<unknown> }
  /** Nothing: a child is there, and its pid must stay its own until the operation has ended. */
  | { readonly until: 'adopted'; readonly pid: number };

export type Operation<T> = Generator<Wait, T, unknown>;

/** Waits until reading from `fd` does not block, also at its end of file. False: too late. */
export function* readable(fd: number, timeoutMs?: number): Operation<boolean> {
  return (yield { until: 'readable', fd, timeoutMs }) as boolean;
}

/** Waits for the end of a child and reaps it. Undefined: it is no child, or it was too late. */
export function* exitOf(pid: number, timeoutMs?: number): Operation<ExitedChild | undefined> {
  return (yield { until: 'exit', pid, timeoutMs }) as ExitedChild | undefined;
}

export function* pause(ms: number): Operation<void> {
  yield { until: 'time', ms };
}

export function* settled<T>(promise: Promise<T>): Operation<T> {
  return (yield { until: 'settled', promise }) as T;
}

/**
 * Takes a child under the operation's care: from now on nobody else reaps it before the operation
 * has ended, so that its pid can be used. False: it has been reaped already, for it ended before
 * anybody knew it. To be called for each child in the turn in which its pid becomes known.
 */
export function* adopt(pid: number): Operation<boolean> {
  return (yield { until: 'adopted', pid }) as boolean;
}

/** Runs an operation to its end, blocking this thread. It must not wait for promises. */
export function runBlocking<T>(operation: Operation<T>): T {
  for (let next = operation.next(); ; ) {
    if (next.done === true) return next.value;
    next = operation.next(blockFor(next.value));
  }
}

/** As {@link runBlocking}, for operations that may wait for promises. */
export async function runAlone<T>(operation: Operation<T>): Promise<T> {
  for (let next = operation.next(); ; ) {
    if (next.done === true) return next.value;
    const wait = next.value;
    if (wait.until !== 'settled') {
      next = operation.next(blockFor(wait));
      continue;
    }
    let value: unknown;
    try {
      value = await wait.promise;
    } catch (thrown) {
      next = operation.throw(thrown);
      continue;
    }
    next = operation.next(value);
  }
}

let onBlocked: (() => void) | undefined;
const BLOCKED_INTERVAL_MS = 50;

/**
 * From now on `callback` is called again and again while this thread blocks without a time limit, as it does for what
 * a child reports and for its end. Undefined: no more.
 */
export function whileBlocked(callback: (() => void) | undefined): void {
  onBlocked = callback;
}

function blockOn(fd: number, timeoutMs: number | undefined): boolean {
  if (onBlocked === undefined || timeoutMs !== undefined) return blockUntilReadable(fd, timeoutMs);
  while (!blockUntilReadable(fd, BLOCKED_INTERVAL_MS)) onBlocked();
  return true;
}

/** Does the waiting where nothing else is to be done meanwhile. */
function blockFor(wait: Wait): unknown {
  switch (wait.until) {
    case 'readable':
      return blockOn(wait.fd, wait.timeoutMs);
    case 'exit':
      return blockForExit(wait.pid, wait.timeoutMs);
    case 'time':
      return sleep(wait.ms);
    case 'adopted':
      return true; // nobody else reaps here
    case 'settled':
      throw new TsError('Internal', 'internal error: a promise in an operation that blocks');
  }
}

function blockForExit(pid: number, timeoutMs: number | undefined): ExitedChild | undefined {
  if (timeoutMs === undefined && onBlocked === undefined) return waitForChild(pid);
  using pidfd = openPidfd(pid);
  if (pidfd !== undefined) blockOn(pidfd.number, timeoutMs);
  return reap(pid);
}

function sleep(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
