import { TsError } from '../../errors/index.ts';
import { koffi } from '../koffi.ts';
import { mapMemory, unmapMemory } from './memory-map.ts';

/** A piece of an arena: its address for the kernel, its bytes for JavaScript. */
export interface Allocation {
  readonly address: number;
  readonly bytes: Uint8Array;
}

interface Chunk {
  readonly address: number;
  readonly bytes: Uint8Array;
  used: number;
}

const CHUNK_BYTES = 256 * 1024;
const PAGE_BYTES = 4096;
const ALIGNMENT = 8;

/**
 * Memory that a cloned child still has, and that never moves.
 *
 * V8 maps its heap MADV_DONTFORK: in a child it is not there. So the records of a program, its
 * strings, structs and results live here, in mappings of their own. Untouched pages cost nothing.
 */
export class Arena {
  readonly #chunks: Chunk[] = [];

  /** Zeroed memory, aligned to a word. Never fails for size: what is too big gets its own mapping. */
  allocate(bytes: number): Allocation {
    const needed = Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
    let chunk = this.#chunks.at(-1);
    if (chunk === undefined || chunk.used + needed > chunk.bytes.length) {
      chunk = this.#map(Math.max(CHUNK_BYTES, Math.ceil(needed / PAGE_BYTES) * PAGE_BYTES));
    }
    const start = chunk.used;
    chunk.used += needed;
    return {
      address: chunk.address + start,
      bytes: chunk.bytes.subarray(start, start + bytes),
    };
  }

  /** A string's UTF-8 bytes and the NUL that ends it. The caller has refused strings with a NUL. */
  allocateText(text: string): Allocation {
    const length = Buffer.byteLength(text);
    const allocation = this.allocate(length + 1);
    const { buffer, byteOffset } = allocation.bytes;
    Buffer.from(buffer, byteOffset, length).write(text);
    return allocation;
  }

  /** A copy of bytes of this arena. */
  copy(address: number, bytes: number): Uint8Array {
    const chunk = this.#chunks.find(
      (candidate) =>
        address >= candidate.address &&
        address + bytes <= candidate.address + candidate.bytes.length,
    );
    if (chunk === undefined) {
      throw new TsError('Internal', 'internal error: a copy from outside of the arena');
    }
    const start = address - chunk.address;
    return chunk.bytes.slice(start, start + bytes);
  }

  get mappedBytes(): number {
    return this.#chunks.reduce((sum, chunk) => sum + chunk.bytes.length, 0);
  }

  /** Unmaps everything; bytes handed out before are then empty. */
  [Symbol.dispose](): void {
    for (const { address, bytes } of this.#chunks.splice(0)) {
      const length = bytes.length;
      (bytes.buffer as ArrayBuffer).transfer(0); // detaches: a late access finds no bytes
      unmapMemory(address, length);
    }
  }

  #map(bytes: number): Chunk {
    const address = mapMemory(bytes);
    const chunk = { address, bytes: new Uint8Array(koffi().view(BigInt(address), bytes)), used: 0 };
    this.#chunks.push(chunk);
    return chunk;
  }
}
