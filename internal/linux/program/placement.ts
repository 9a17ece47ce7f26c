import { Errno, type ErrnoName, TsError } from '../../errors/index.ts';
import { syscallNumber } from '../syscall-numbers.ts';
import type { Arena } from './arena.ts';
import { type Argument, Field, Memory, Named, type Placement, Result } from './argument.ts';
import {
  ARGUMENTS,
  BYTES_PER_WORD,
  GREATEST_TOLERABLE_ERRNO,
  Special,
  WORDS_PER_RECORD,
  Word,
} from './record.ts';
import type { Item, Process, Sequence } from './sequence.ts';

/** Puts strings and structs into an arena, each once. */
export class ArenaPlacement implements Placement {
  readonly #arena: Arena;
  readonly #memories = new Map<Memory, number>();
  readonly #texts = new Map<string, number>();

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  memory(memory: Memory): number {
    const known = this.#memories.get(memory);
    if (known !== undefined) return known;
    const { address, bytes } = this.#arena.allocate(memory.size);
    this.#memories.set(memory, address); // first, so that structs may point to each other
    memory.write?.(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), this);
    return address;
  }

  text(text: string): number {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    if (text.includes('\0')) {
      throw new TsError('InvalidArgument', `${JSON.stringify(text)} contains a NUL character`);
    }
    const { address } = this.#arena.allocateText(text);
    this.#texts.set(text, address);
    return address;
  }

  field(field: Field): number {
    return this.memory(field.memory) + field.offset;
  }
}

const BYTES_PER_RECORD = WORDS_PER_RECORD * BYTES_PER_WORD;

/** Writes all items of a program into records and returns the address of the first. */
export function placeRecords(
  items: readonly Item[],
  root: Process,
  arena: Arena,
  placement: ArenaPlacement,
): number {
  const { address, bytes } = arena.allocate(items.length * BYTES_PER_RECORD);
  const writer = new RecordWriter(address, bytes, placement);
  writer.process(root);
  return address + firstIndex(root.body, firstIndex(root.end, 0)) * BYTES_PER_RECORD;
}

/** Index of a sequence's first item; an empty one is passed through to what follows it. */
function firstIndex(sequence: Sequence, next: number): number {
  return sequence.items[0]?.index ?? next;
}

class RecordWriter {
  readonly #address: number;
  readonly #words: Uint32Array; // two per 64-bit word, the lower half first
  readonly #placement: ArenaPlacement;

  constructor(address: number, bytes: Uint8Array, placement: ArenaPlacement) {
    this.#address = address;
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    this.#placement = placement;
  }

  process(process: Process): void {
    const failed = firstIndex(process.failure, 0);
    const end = firstIndex(process.end, failed);
    this.#sequence(process.failure, failed, failed);
    this.#sequence(process.end, end, failed);
    this.#sequence(process.body, end, failed);
  }

  /** `next` is the index of the item after the sequence, `failed` that after an error. */
  #sequence({ items }: Sequence, next: number, failed: number): void {
    items.forEach((item, position) => {
      const following = items[position + 1]?.index ?? next;
      let succeeded = following;
      let tolerated = following;
      if (item.ifSucceeded !== undefined) {
        succeeded = firstIndex(item.ifSucceeded, following);
        this.#sequence(item.ifSucceeded, following, failed);
      }
      if (item.ifTolerated !== undefined) {
        tolerated = firstIndex(item.ifTolerated, following);
        this.#sequence(item.ifTolerated, following, failed);
      }
      if (item.options.retryOn !== undefined) tolerated = item.index;
      let zero = succeeded;
      if (item.child !== undefined) {
        zero = firstIndex(item.child.body, firstIndex(item.child.end, 0));
        this.process(item.child);
      }
      this.#record(item, { zero, positive: succeeded, tolerated, failed });
    });
  }

  #record(
    item: Item,
    next: { zero: number; positive: number; tolerated: number; failed: number },
  ): void {
    const { step, options, result, index } = item;
    const base = index * WORDS_PER_RECORD;
    this.#set(base + Word.number, callNumber(step.call));
    for (let position = 0; position < ARGUMENTS; position++) {
      this.#argument(base, position, step.args[position] ?? 0);
    }
    this.#set(base + Word.result, this.#placement.field(result.field));
    this.#tolerate(base, options.tolerate ?? []);
    this.#tolerate(base, options.retryOn ?? []);
    this.#set(base + Word.ifZero, this.#recordAddress(next.zero));
    this.#set(base + Word.ifPositive, this.#recordAddress(next.positive));
    this.#set(base + Word.ifTolerated, this.#recordAddress(next.tolerated));
    this.#set(base + Word.ifFailed, this.#recordAddress(next.failed));
    this.#set(base + Word.index, index);
  }

  #argument(base: number, position: number, argument: Argument): void {
    const pointer = base + Word.arguments + position;
    if (argument instanceof Field || argument instanceof Result) {
      const field = argument instanceof Field ? argument : argument.field;
      this.#set(pointer, this.#placement.field(field));
      return;
    }
    const literal = base + Word.literals + position;
    this.#set(literal, this.#literal(argument));
    this.#set(pointer, this.#address + literal * BYTES_PER_WORD);
  }

  #literal(argument: Exclude<Argument, Field | Result>): number | bigint {
    if (argument === null) return 0;
    if (typeof argument === 'string') return this.#placement.text(argument);
    if (argument instanceof Memory) return this.#placement.memory(argument);
    if (argument instanceof Named) return argument.value;
    return argument;
  }

  #tolerate(base: number, errors: ErrnoName | readonly ErrnoName[] | 'any'): void {
    const bitmap = (base + Word.tolerated) * 2;
    if (errors === 'any') {
      this.#words.fill(0xffffffff, bitmap, bitmap + (GREATEST_TOLERABLE_ERRNO + 1) / 32);
      return;
    }
    for (const name of typeof errors === 'string' ? [errors] : errors) {
      const half = bitmap + (Errno[name] >>> 5);
      this.#words[half] = (this.#words[half] ?? 0) | (1 << (Errno[name] & 31));
    }
  }

  #recordAddress(index: number): number {
    return this.#address + index * BYTES_PER_RECORD;
  }

  #set(word: number, value: number | bigint): void {
    const number = typeof value === 'bigint' ? BigInt.asIntN(64, value) : value;
    const low = typeof number === 'bigint' ? Number(number & 0xffffffffn) : number >>> 0;
    const high =
      typeof number === 'bigint'
        ? Number((number >> 32n) & 0xffffffffn)
        : Math.floor(number / 2 ** 32) >>> 0;
    this.#words[word * 2] = low;
    this.#words[word * 2 + 1] = high;
  }
}

function callNumber(call: Item['step']['call']): number {
  return call === 'check' || call === 'end' ? Special[call] : syscallNumber(call);
}
