import { PrctlOption } from './constants/process.ts';
import { syscall } from './syscall.ts';

/**
 * PR_SET_CHILD_SUBREAPER: orphaned descendants become children of this process instead of init's.
 */
export function setChildSubreaper(enabled: boolean): void {
  prctl('become subreaper', 'PR_SET_CHILD_SUBREAPER', enabled ? 1 : 0);
}

/** Whether orphaned descendants become children of this process. */
export function isChildSubreaper(): boolean {
  const value = new Int32Array(1);
  prctl('get subreaper', 'PR_GET_CHILD_SUBREAPER', new Uint8Array(value.buffer));
  return value[0] !== 0;
}

/** PR_SET_DUMPABLE: not dumpable means no ptrace, no core, and /proc/PID belongs to root. */
export function setDumpable(dumpable: boolean): void {
  prctl('set dumpable', 'PR_SET_DUMPABLE', dumpable ? 1 : 0);
}

/** PR_GET_DUMPABLE. */
export function isDumpable(): boolean {
  return prctl('get dumpable', 'PR_GET_DUMPABLE', 0) === 1;
}

/** PR_SET_NAME: the name in `ps -o comm` (15 bytes; the kernel cuts the rest off). */
export function setProcessName(name: string): void {
  prctl('set process name', 'PR_SET_NAME', name);
}

function prctl(
  operation: string,
  option: PrctlOption,
  value: number | string | Uint8Array,
): number {
  return syscall(() => operation, 'prctl', PrctlOption[option], value, 0, 0, 0);
}
