import { koffi } from './koffi.ts';

/**
 * malloc_trim(3): gives memory that malloc holds free back to the kernel. False: there was none, or
 * this libc has no such function.
 */
export function releaseFreeMemory(): boolean {
  try {
    const trim = koffi().load(null).func('malloc_trim', 'int', ['size_t']) as (
      pad: number,
    ) => number;
    return trim(0) !== 0;
  } catch {
    return false; // glibc alone has it
  }
}
