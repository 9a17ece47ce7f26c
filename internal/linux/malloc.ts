import { koffi } from './koffi.ts';

let mallocTrim: ((pad: number) => number) | undefined;

/**
 * Gives freed memory back to the kernel (malloc_trim(3) of glibc). glibc keeps what a thread freed in
 * the thread's arena, for good: after the buffers of a 350 MB pull that was 120 MB. Takes some
 * milliseconds: for moments with nothing to do. A libc without the function needs none.
 */
export function trimMemory(): void {
  mallocTrim ??= bind();
  mallocTrim(0);
}

function bind(): (pad: number) => number {
  try {
    return koffi().load(null).func('malloc_trim', 'int', ['size_t']) as (pad: number) => number;
  } catch {
    return () => 0; // musl returns what is freed by itself
  }
}
