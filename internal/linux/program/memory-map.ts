import { rawSyscall, syscall } from '../syscall.ts';

/** Of the mmap family (asm-generic/mman-common.h). */
export const Protection = { read: 1, write: 2, execute: 4 } as const;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 0x20;

/** Maps `bytes` of zeroed private memory, readable and writable, and returns its address. */
export function mapMemory(bytes: number): number {
  return mapAnonymous(bytes, MAP_PRIVATE);
}

/** As {@link mapMemory}; what a child writes there, this process sees. */
export function mapSharedMemory(bytes: number): number {
  return mapAnonymous(bytes, MAP_SHARED);
}

function mapAnonymous(bytes: number, sharing: number): number {
  return syscall(
    () => `map ${bytes} bytes of memory`,
    'mmap',
    0,
    bytes,
    Protection.read | Protection.write,
    sharing | MAP_ANONYMOUS,
    -1,
    0,
  );
}

/** Makes a mapping readable and executable, and no longer writable. */
export function makeExecutable(address: number, bytes: number): void {
  const protection = Protection.read | Protection.execute;
  syscall(() => 'make the trampoline executable', 'mprotect', address, bytes, protection);
}

/** Unmaps what {@link mapMemory} has mapped. */
export function unmapMemory(address: number, bytes: number): void {
  const result = rawSyscall('munmap', address, bytes);
  if (result < 0) throw new Error(`internal error: munmap of a mapping of ours: ${-result}`);
}
