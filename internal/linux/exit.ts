import { isKoffiLoaded } from './koffi.ts';
import { rawSyscall } from './syscall.ts';

/**
 * Ends this process at once, with all its threads (man 2 exit_group). Node's own way out first takes V8's
 * heap and its environment apart, which a short-lived command need not wait for; nothing may be left to
 * be written. A process that has made no system call of ours takes Node's way.
 */
export function exitProcess(status: number): never {
  if (isKoffiLoaded()) rawSyscall('exit_group', status);
  process.exit(status);
}
