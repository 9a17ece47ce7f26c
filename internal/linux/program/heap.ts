import { TsError } from '../../errors/index.ts';
import { currentBreak, processLayout } from '../process-layout.ts';
import { rawSyscall } from '../syscall.ts';

/** madvise(2) (asm-generic/mman-common.h). */
const MADV_DONTFORK = 10;
const MADV_DOFORK = 11;

const ENOMEM = 12;
const EINVAL = 22;

const PAGE_BYTES = 4096;

/**
 * Clones that are made meanwhile come without the heap of malloc: it is most of the memory that a
 * clone of Node has, and a program, which lives in memory of its own and touches no stack, does not
 * look at it. Else each clone copies the page tables, and this process then copies each page of the
 * heap that it writes to while a child lives.
 *
 * Afterwards it is as before, for libuv's children run on in libc.
 */
export function withoutHeapInClones(action: () => void): void {
  const start = roundUp(Number(processLayout().startBreak));
  const length = roundUp(currentBreak()) - start;
  // EINVAL is a kernel that cannot: then it is cloned.
  const isLeftOut = length > 0 && rawSyscall('madvise', start, length, MADV_DONTFORK) !== -EINVAL;
  try {
    action();
  } finally {
    if (isLeftOut) cloneAgain(start, length);
  }
}

/** Other threads free memory, too: the end of the heap may be gone by now (ENOMEM), the rest is dealt with all the same. */
function cloneAgain(start: number, length: number): void {
  const result = rawSyscall('madvise', start, length, MADV_DOFORK);
  if (result < 0 && result !== -ENOMEM) throw TsError.ofErrno(-result, 'clone the heap again');
}

function roundUp(address: number): number {
  return Math.ceil(address / PAGE_BYTES) * PAGE_BYTES;
}
