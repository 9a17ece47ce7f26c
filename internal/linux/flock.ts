import { TsError } from '../errors/index.ts';
import { rawSyscall, restartedSyscall } from './syscall.ts';

/** flock(2) operations (linux/fcntl.h). */
const LOCK_EX = 2;
const LOCK_NB = 4;
const EAGAIN = 11;

/** Locks an open file for this open file description alone; waits for whoever has it. */
export function lockExclusively(fd: number, what: string): void {
  restartedSyscall(() => `lock ${what}`, 'flock', fd, LOCK_EX);
}

/** As {@link lockExclusively} without waiting: false if somebody else has the lock. */
export function tryLockExclusively(fd: number, what: string): boolean {
  const result = rawSyscall('flock', fd, LOCK_EX | LOCK_NB);
  if (result === -EAGAIN) return false;
  if (result < 0) throw TsError.ofErrno(-result, `lock ${what}`);
  return true;
}
