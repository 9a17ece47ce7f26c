import { koffi } from '../koffi.ts';
import { mapSharedMemory, unmapMemory } from './memory-map.ts';

/** That a step begins, or has ended; in the order in which it happened in all processes of a program. */
export interface TraceEvent {
  /** The step's index in its program. */
  readonly index: number;
  readonly hasEnded: boolean;
  /** An error as its negated errno; of a step that begins it says nothing. */
  readonly result: bigint;
  /** In ticks of the processor's clock. */
  readonly ticks: bigint;
}

/** Layout, which both traced trampolines have in their machine code: two words, then events of four words each. */
const HEADER_BYTES = 16;
const EVENT_BYTES = 32;
const CAPACITY_OFFSET = 8;

/**
 * Memory that a process shares with its children, into which traced programs write events. The first word counts them,
 * also those that have no place any more; the second is the number of places.
 */
export class TraceArea {
  readonly address: number;
  readonly #bytes: Buffer;

  /** Places that nothing is written to cost nothing. */
  constructor(capacity: number) {
    const size = HEADER_BYTES + capacity * EVENT_BYTES;
    this.address = mapSharedMemory(size);
    this.#bytes = Buffer.from(koffi().view(BigInt(this.address), size));
    this.#bytes.writeBigUInt64LE(BigInt(capacity), CAPACITY_OFFSET);
  }

  get capacity(): number {
    return Number(this.#bytes.readBigUInt64LE(CAPACITY_OFFSET));
  }

  /** Events so far, also those that found no place. */
  get count(): number {
    return Number(this.#bytes.readBigUInt64LE(0));
  }

  /** Events that found no place. */
  get lost(): number {
    return Math.max(0, this.count - this.capacity);
  }

  /** What has been written so far. */
  events(): TraceEvent[] {
    const count = Math.min(this.count, this.capacity);
    const events: TraceEvent[] = [];
    for (let place = 0; place < count; place++) {
      const at = HEADER_BYTES + place * EVENT_BYTES;
      const ticks = this.#bytes.readBigUInt64LE(at + 24);
      if (ticks === 0n) continue; // its process was killed before it had written all of it
      events.push({
        index: Number(this.#bytes.readBigUInt64LE(at)),
        hasEnded: this.#bytes.readBigUInt64LE(at + 8) === 1n,
        result: this.#bytes.readBigInt64LE(at + 16),
        ticks,
      });
    }
    return events;
  }

  [Symbol.dispose](): void {
    const { length } = this.#bytes;
    (this.#bytes.buffer as ArrayBuffer).transfer(0); // detaches: a late access finds no bytes
    unmapMemory(this.address, length);
  }
}
