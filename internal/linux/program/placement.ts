import { Errno, type ErrnoName, TsError } from '../../errors/index.ts';
import { ARCHITECTURE, type Architecture, columnOf, SYSCALL_NUMBERS } from '../syscall-numbers.ts';
import type { ProgramMemory } from './arena.ts';
import { type Argument, Field, Memory, Named, type Placement, type Result } from './argument.ts';
import {
  ARGUMENTS,
  BYTES_PER_RECORD,
  BYTES_PER_WORD,
  GREATEST_TOLERABLE_ERRNO,
  Special,
  WORDS_PER_RECORD,
  Word,
} from './record.ts';
import type { Item, Process, Sequence } from './sequence.ts';

/** Indices of the items that follow an item. */
interface Successors {
  readonly zero: number;
  readonly positive: number;
  readonly tolerated: number;
  readonly failed: number;
}

/**
 * Writes a program into an arena: its records, and the strings and structs that they point to.
 *
 * It runs at every start of a container, before V8 has optimized anything. That is why words are
 * written as halves of 32 bits, which V8 has without allocating.
 */
export class ProgramPlacement implements Placement {
  /** Address of the record that is to run first. */
  readonly first: number;
  readonly #arena: ProgramMemory;
  readonly #items: readonly Item[];
  readonly #numbers = SYSCALL_NUMBERS;
  readonly #column: 0 | 1;
  readonly #memories = new Map<Memory, number>();
  readonly #texts = new Map<string, number>();
  readonly #address: number;
  readonly #halves: Int32Array;

  constructor(
    arena: ProgramMemory,
    items: readonly Item[],
    root: Process,
    architecture: Architecture = ARCHITECTURE,
  ) {
    this.#arena = arena;
    this.#items = items;
    this.#column = columnOf(architecture);
    const { address, bytes } = arena.allocate(items.length * BYTES_PER_RECORD);
    this.#address = address;
    this.#halves = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    this.#fillWithDefaults();
    this.#placeProcess(root);
    for (const item of items) if (item.result.chosenField !== undefined) this.#placeResult(item);
    this.first = this.#recordAddress(firstIndex(root.body, firstIndex(root.end, 0)));
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
    const address = this.#arena.allocateText(text);
    this.#texts.set(text, address);
    return address;
  }

  /** Address of the word that holds a result, or a word of a struct. */
  word(value: Result | Field): number {
    const field = value instanceof Field ? value : value.chosenField;
    if (field !== undefined) return this.memory(field.memory) + field.offset;
    const { step = -1 } = value as Result;
    if (this.#items[step]?.result !== value) {
      throw new TsError('Internal', `internal error: ${value.text} is a result of another program`);
    }
    return this.#recordAddress(step) + Word.ownResult * BYTES_PER_WORD;
  }

  /**
   * Every record as one whose six arguments are its constants, which keeps its result and goes on
   * with the record behind it, unless its step fails.
   */
  #fillWithDefaults(): void {
    const halves = this.#halves;
    const record = WORDS_PER_RECORD * 2;
    for (let position = 0; position < ARGUMENTS; position++) {
      halves[(Word.arguments + position) * 2] = (Word.constants + position) * BYTES_PER_WORD;
    }
    halves[Word.result * 2] = Word.ownResult * BYTES_PER_WORD;
    halves[Word.ifZero * 2] = BYTES_PER_RECORD;
    halves[Word.ifPositive * 2] = BYTES_PER_RECORD;
    halves[Word.ifTolerated * 2] = BYTES_PER_RECORD;
    for (let filled = record; filled < halves.length; filled *= 2) {
      halves.copyWithin(filled, 0, Math.min(filled, halves.length - filled));
    }
  }

  #placeProcess(process: Process): void {
    const failed = firstIndex(process.failure, 0);
    const end = firstIndex(process.end, failed);
    this.#placeSequence(process.failure, failed, failed);
    this.#placeSequence(process.end, end, failed);
    this.#placeSequence(process.body, end, failed);
  }

  /** `next` is the index of the item after the sequence, `failed` that after an error. */
  #placeSequence({ items }: Sequence, next: number, failed: number): void {
    for (let position = 0; position < items.length; position++) {
      const item = items[position] as Item;
      const following = items[position + 1]?.index ?? next;
      this.#placeItem(item, failed);
      const hasBranches =
        item.ifSucceeded !== undefined ||
        item.ifTolerated !== undefined ||
        item.child !== undefined ||
        item.options.retryOn !== undefined;
      if (hasBranches) this.#placeBranches(item, following, failed);
      else if (following !== item.index + 1) {
        const all = { zero: following, positive: following, tolerated: following, failed };
        this.#placeSuccessors(item.index, all);
      }
    }
  }

  #placeBranches(item: Item, following: number, failed: number): void {
    const { ifSucceeded, ifTolerated, child, index, options } = item;
    let positive = following;
    let tolerated = following;
    if (ifSucceeded !== undefined) {
      positive = firstIndex(ifSucceeded, following);
      this.#placeSequence(ifSucceeded, following, failed);
    }
    if (ifTolerated !== undefined) {
      tolerated = firstIndex(ifTolerated, following);
      this.#placeSequence(ifTolerated, following, failed);
    }
    if (options.retryOn !== undefined) tolerated = index;
    let zero = positive;
    if (child !== undefined) {
      zero = firstIndex(child.body, firstIndex(child.end, 0));
      this.#placeProcess(child);
    }
    this.#placeSuccessors(index, { zero, positive, tolerated, failed });
  }

  #placeSuccessors(index: number, next: Successors): void {
    const word = index * WORDS_PER_RECORD;
    this.#setInteger(word + Word.ifZero, (next.zero - index) * BYTES_PER_RECORD);
    this.#setInteger(word + Word.ifPositive, (next.positive - index) * BYTES_PER_RECORD);
    this.#setInteger(word + Word.ifTolerated, (next.tolerated - index) * BYTES_PER_RECORD);
    this.#setInteger(word + Word.ifFailed, (next.failed - index) * BYTES_PER_RECORD);
  }

  #placeItem({ index, step, options }: Item, failed: number): void {
    const halves = this.#halves;
    const word = index * WORDS_PER_RECORD;
    const { args, call } = step;
    if (call === 'check' || call === 'end') this.#setInteger(word + Word.number, Special[call]);
    else halves[(word + Word.number) * 2] = this.#numbers[call][this.#column];
    halves[(word + Word.index) * 2] = index;
    const toFailed = (failed - index) * BYTES_PER_RECORD;
    halves[(word + Word.ifFailed) * 2] = toFailed;
    halves[(word + Word.ifFailed) * 2 + 1] = toFailed >> 31;
    for (let position = 0; position < args.length; position++) {
      const argument = args[position] as Argument;
      const value = argument instanceof Named ? argument.value : argument;
      // Most are small numbers, whose other half is 0.
      if (typeof value === 'number' && value >>> 0 === value) {
        halves[(word + Word.constants + position) * 2] = value;
      } else if (value !== null) {
        this.#placeArgument(word, position, value);
      }
    }
    if (options.tolerate !== undefined) this.#tolerate(word, options.tolerate);
    if (options.retryOn !== undefined) this.#tolerate(word, options.retryOn);
  }

  #placeArgument(word: number, position: number, argument: Exclude<Argument, Named | null>): void {
    const constant = word + Word.constants + position;
    if (typeof argument === 'string') {
      this.#setNumber(constant, this.text(argument));
    } else if (typeof argument !== 'object') {
      this.#setNumber(constant, argument);
    } else if (argument instanceof Memory) {
      this.#setNumber(constant, this.memory(argument));
    } else {
      const record = this.#address + word * BYTES_PER_WORD;
      this.#setNumber(word + Word.arguments + position, this.word(argument) - record);
    }
  }

  #placeResult({ index, result }: Item): void {
    const distance = this.word(result) - this.#recordAddress(index);
    this.#setNumber(index * WORDS_PER_RECORD + Word.result, distance);
  }

  #tolerate(word: number, errors: ErrnoName | readonly ErrnoName[] | 'any'): void {
    const bitmap = (word + Word.tolerated) * 2;
    if (errors === 'any') {
      this.#halves.fill(-1, bitmap, bitmap + (GREATEST_TOLERABLE_ERRNO + 1) / 32);
      return;
    }
    for (const name of typeof errors === 'string' ? [errors] : errors) {
      const half = bitmap + (Errno[name] >>> 5);
      this.#halves[half] = (this.#halves[half] ?? 0) | (1 << (Errno[name] & 31));
    }
  }

  #recordAddress(index: number): number {
    return this.#address + index * BYTES_PER_RECORD;
  }

  /** A word that fits into 32 bits with its sign. */
  #setInteger(word: number, value: number): void {
    this.#halves[word * 2] = value;
    this.#halves[word * 2 + 1] = value >> 31;
  }

  #setNumber(word: number, value: number | bigint): void {
    if (typeof value === 'bigint') {
      this.#halves[word * 2] = Number(BigInt.asIntN(32, value));
      this.#halves[word * 2 + 1] = Number(BigInt.asIntN(32, value >> 32n));
    } else if ((value | 0) === value) {
      this.#setInteger(word, value);
    } else {
      this.#halves[word * 2] = value; // modulo 2^32, as typed arrays store
      this.#halves[word * 2 + 1] = Math.floor(value / 2 ** 32);
    }
  }
}

/** Index of a sequence's first item; an empty one is passed through to what follows it. */
function firstIndex(sequence: Sequence, next: number): number {
  return sequence.items[0]?.index ?? next;
}
