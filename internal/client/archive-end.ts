const BLOCK_BYTES = 512;
const SIZE_OFFSET = 124;
const SIZE_BYTES = 12;

/**
 * Finds the end of a tar archive that comes in pieces: a block of zeros where a header would be (pax(1), "ustar Interchange
 * Format"). containerd does not end the stream of an export, so that nothing else tells when all of it has come.
 */
export class ArchiveEnd {
  readonly #header = Buffer.alloc(BLOCK_BYTES);
  #have = 0;
  #skipBytes = 0;
  #isReached = false;

  /** Whether the end has been seen. */
  get isReached(): boolean {
    return this.#isReached;
  }

  /** Takes the next piece. */
  push(piece: Uint8Array): void {
    for (let at = 0; at < piece.length && !this.#isReached; ) {
      if (this.#skipBytes > 0) {
        const count = Math.min(this.#skipBytes, piece.length - at);
        this.#skipBytes -= count;
        at += count;
        continue;
      }
      const part = piece.subarray(at, at + BLOCK_BYTES - this.#have);
      this.#header.set(part, this.#have);
      this.#have += part.length;
      at += part.length;
      if (this.#have === BLOCK_BYTES) this.#takeHeader();
    }
  }

  #takeHeader(): void {
    this.#have = 0;
    this.#isReached = this.#header.every((byte) => byte === 0);
    const size = entrySize(this.#header.subarray(SIZE_OFFSET, SIZE_OFFSET + SIZE_BYTES));
    this.#skipBytes = Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
  }
}

/** Octal digits, or for large entries a number in base 256 behind a first bit that is set. */
function entrySize(field: Buffer): number {
  if (((field[0] ?? 0) & 0x80) !== 0) return Number(field.readBigUInt64BE(4));
  const digits = /[0-7]+/.exec(field.toString('latin1'))?.[0] ?? '0';
  return Number.parseInt(digits, 8);
}
