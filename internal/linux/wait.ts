import { TsError } from '../errors/index.ts';
import { combine } from './constants/flags.ts';
import { WaitIdType, WaitOption } from './constants/process.ts';
import { rawSyscall } from './syscall.ts';

/** How a child ended. */
export interface ExitedChild {
  readonly pid: number;
  /** Exit status; undefined if a signal ended it. */
  readonly status: number | undefined;
  /** Number of the signal that ended it. */
  readonly signal: number | undefined;
  /** What shells and containerd report: the status, or 128 + the signal. */
  readonly exitCode: number;
}

const EINTR = 4;
const ECHILD = 10;
/** siginfo_t: si_code is the 32 bits at 8, si_pid at 16, si_status at 24. */
const SIGINFO_BYTES = 128;
const CLD_EXITED = 1;

/**
 * Looks for a child that has ended, without reaping it. Undefined: none has, or there are no
 * children.
 *
 * libuv reaps the processes that it spawned, by pid. Whoever has other children (a subreaper) must
 * look first, and {@link reap} only those that are not libuv's, else libuv never sees their end.
 */
export function peekExitedChild(): ExitedChild | undefined {
  return waitForExit(WaitIdType.P_ALL, 0, ['WEXITED', 'WNOHANG', 'WNOWAIT']);
}

/** As {@link peekExitedChild}, for one child. */
export function peekExited(pid: number): ExitedChild | undefined {
  return waitForExit(WaitIdType.P_PID, pid, ['WEXITED', 'WNOHANG', 'WNOWAIT']);
}

/** Reaps a child that has ended. Undefined: it has not, or it is no child of this process. */
export function reap(pid: number): ExitedChild | undefined {
  return waitForExit(WaitIdType.P_PID, pid, ['WEXITED', 'WNOHANG']);
}

/** Waits for the end of a child and reaps it, blocking this thread. */
export function waitForChild(pid: number): ExitedChild | undefined {
  return waitForExit(WaitIdType.P_PID, pid, ['WEXITED']);
}

function waitForExit(
  type: number,
  id: number,
  options: readonly WaitOption[],
): ExitedChild | undefined {
  const info = Buffer.alloc(SIGINFO_BYTES);
  const bits = combine(WaitOption, [...options, '__WALL']);
  let result: number;
  do result = rawSyscall('waitid', type, id, info, bits);
  while (result === -EINTR);
  if (result === -ECHILD) return undefined;
  if (result < 0) throw TsError.ofErrno(-result, 'wait for a child');
  const pid = info.readInt32LE(16);
  if (pid === 0) return undefined;
  const isExit = info.readInt32LE(8) === CLD_EXITED;
  const value = info.readInt32LE(24);
  return isExit
    ? { pid, status: value, signal: undefined, exitCode: value }
    : { pid, status: undefined, signal: value, exitCode: 128 + value };
}
