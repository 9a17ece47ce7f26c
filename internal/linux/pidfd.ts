import { TsError } from '../errors/index.ts';
import { signalName } from './constants/signal.ts';
import { OwnedFd } from './fd.ts';
import { rawSyscall } from './syscall.ts';

const ESRCH = 3;

/**
 * pidfd_open(2): a reference to a process that stays valid when its pid is reused. Undefined: there
 * is no such process. It becomes readable when the process ends (poll.ts).
 */
export function openPidfd(pid: number): OwnedFd | undefined {
  const result = rawSyscall('pidfd_open', pid, 0);
  if (result >= 0) return new OwnedFd(result);
  if (result === -ESRCH) return undefined;
  throw TsError.ofErrno(-result, `open pidfd of ${pid}`);
}

/** pidfd_send_signal(2). False: the process has ended and was reaped. */
export function signalPidfd(pidfd: OwnedFd, signal: number): boolean {
  const result = rawSyscall('pidfd_send_signal', pidfd.number, signal, null, 0);
  if (result === -ESRCH) return false;
  if (result < 0) throw TsError.ofErrno(-result, `send ${signalName(signal)}`);
  return true;
}
