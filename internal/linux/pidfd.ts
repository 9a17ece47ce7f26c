import { TsError } from '../errors/index.ts';
import { signalName } from './constants/signal.ts';
import { OwnedFd } from './fd.ts';
import { rawSyscall, syscall } from './syscall.ts';

const ESRCH = 3;
const EINVAL = 22;

/**
 * pidfd_open(2): a reference to a process that stays valid when its pid is reused. Undefined: there
 * is no such process. It becomes readable when the process ends (poll.ts).
 */
export function openPidfd(pid: number): OwnedFd | undefined {
  const result = rawSyscall('pidfd_open', pid, 0);
  if (result >= 0) return new OwnedFd(result);
  // Until Linux 6.14 it is EINVAL for a pid that has no process any more, but still names a process group or a session.
  if (result === -ESRCH || (result === -EINVAL && pid > 0)) return undefined;
  throw TsError.ofErrno(-result, `open pidfd of ${pid}`);
}

/** pidfd_send_signal(2). False: the process has ended and was reaped. */
export function signalPidfd(pidfd: OwnedFd, signal: number): boolean {
  const result = rawSyscall('pidfd_send_signal', pidfd.number, signal, null, 0);
  if (result === -ESRCH) return false;
  if (result < 0) throw TsError.ofErrno(-result, `send ${signalName(signal)}`);
  return true;
}

/** pidfd_getfd(2): a copy of a process's descriptor, close-on-exec. Needs the right to trace the process. */
export function copyFdOf(pidfd: OwnedFd, fd: number): OwnedFd {
  const operation = () => `copy fd ${fd} of a process`;
  return new OwnedFd(syscall(operation, 'pidfd_getfd', pidfd.number, fd, 0));
}
