import { TsError } from '../../errors/index.ts';
import { koffi } from '../koffi.ts';
import { mapMemory, unmapMemory } from './memory-map.ts';

/** A piece of an arena: its address for the kernel, its bytes for JavaScript. */
export interface Allocation {
  readonly address: number;
  readonly bytes: Uint8Array;
}

/** Memory that a program can be written into. */
export interface ProgramMemory {
  /** Zeroed memory, aligned to a word. */
  allocate(bytes: number): Allocation;
  /** The address of a string as UTF-8 with a NUL. The caller has refused strings that have one. */
  allocateText(text: string): number;
}

interface Chunk {
  readonly address: number;
  readonly bytes: Buffer;
  used: number;
}

const CHUNK_BYTES = 256 * 1024;
const PAGE_BYTES = 4096;
const ALIGNMENT = 8;
/** UTF-8 takes no more than three bytes for each unit of a JavaScript string. */
const GREATEST_BYTES_PER_UNIT = 3;

/**
 * Memory that a cloned child still has, and that never moves.
 *
 * V8 maps its heap MADV_DONTFORK: in a child it is not there. So the records of a program, its
 * strings, structs and results live here, in mappings of their own. Untouched pages cost nothing.
 */
export class Arena implements ProgramMemory {
  readonly #chunks: Chunk[] = [];

  /** Never fails for size: what is too big gets a mapping of its own. */
  allocate(bytes: number): Allocation {
    const chunk = this.#chunkFor(bytes);
    const start = chunk.used;
    chunk.used += align(bytes);
    return {
      address: chunk.address + start,
      bytes: chunk.bytes.subarray(start, start + bytes),
    };
  }

  allocateText(text: string): number {
    const chunk = this.#chunkFor(text.length * GREATEST_BYTES_PER_UNIT + 1);
    const start = chunk.used;
    const written = chunk.bytes.write(text, start);
    chunk.used += align(written + 1);
    return chunk.address + start;
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
    return new Uint8Array(chunk.bytes.subarray(start, start + bytes));
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

  #chunkFor(bytes: number): Chunk {
    const chunk = this.#chunks.at(-1);
    if (chunk !== undefined && chunk.used + align(bytes) <= chunk.bytes.length) return chunk;
    const size = Math.max(CHUNK_BYTES, Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES);
    const address = mapMemory(size);
    const view = koffi().view(BigInt(address), size);
    const mapped = { address, bytes: Buffer.from(view), used: 0 };
    this.#chunks.push(mapped);
    return mapped;
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
