/**
 * Gives the memory of a buffer that nobody will look at again back at once. Left to the garbage
 * collector, which sees a small object and not the 128 KiB behind it, streams of hundreds of megabytes
 * hold tens of them in each thread.
 *
 * Only a buffer that reaches to the end of its memory is released: of a larger one the rest may be
 * in use (zlib fills one piece after the other and hands out each).
 */
export function releaseBuffer(buffer: Buffer): void {
  const memory = buffer.buffer;
  if (!(memory instanceof ArrayBuffer)) return;
  if (buffer.byteOffset + buffer.length === memory.byteLength) memory.transfer(0);
}
