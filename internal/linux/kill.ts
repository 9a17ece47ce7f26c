import { TsError } from '../errors/index.ts';
import { signalName } from './constants/signal.ts';
import { rawSyscall } from './syscall.ts';

const ESRCH = 3;
const EPERM = 1;

/** kill(2) with any signal number. False: there is no such process. */
export function kill(pid: number, signal: number): boolean {
  const result = rawSyscall('kill', pid, signal);
  if (result === -ESRCH) return false;
  if (result < 0) throw TsError.ofErrno(-result, `send ${signalName(signal)} to ${pid}`);
  return true;
}

/** Whether a process with this pid exists, be it a zombie or of another user. */
export function exists(pid: number): boolean {
  const result = rawSyscall('kill', pid, 0);
  return result === 0 || result === -EPERM;
}
