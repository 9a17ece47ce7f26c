import { TsError } from '../../errors/index.ts';

/**
 * Where things lie once a program is in memory. Structs use it to find the addresses of the strings
 * and structs that they point to.
 */
export interface Placement {
  /** Address of a struct; the same struct is placed once in a program. */
  memory(memory: Memory): number;
  /** Address of a NUL-terminated string. */
  text(text: string): number;
}

// A program has some hundred of each of these, made before V8 has optimized anything: nothing in them is private, since for
// private fields V8 calls a function of its own for each object.

/** A number with a name in the field's language: a constant, or bits combined from flags. */
export class Named {
  readonly value: number | bigint;
  readonly name: string | (() => string);

  constructor(value: number | bigint, name: string | (() => string)) {
    this.value = value;
    this.name = name;
  }

  get text(): string {
    return typeof this.name === 'string' ? this.name : this.name();
  }
}

/**
 * Bytes in the program's memory: a struct, an array or a buffer. As an argument it is passed by its
 * address. `write` fills in the bytes, which are zero before; it runs when the program is placed.
 */
export class Memory {
  readonly size: number;
  readonly write: ((view: DataView, placement: Placement) => void) | undefined;
  readonly describe: () => string;

  constructor(
    size: number,
    describe: () => string,
    write?: (view: DataView, placement: Placement) => void,
  ) {
    this.size = size;
    this.write = write;
    this.describe = describe;
  }

  get text(): string {
    return this.describe();
  }

  /** The 64-bit word at `offset`: to be read by a later step, or to take a step's result. */
  field(offset: number, name: string): Field {
    return new Field(this, offset, name);
  }
}

/**
 * A word (64 bits) of a {@link Memory}, read at the moment when the step that has it as argument runs.
 * It may lie at a multiple of 4: both architectures load and store such words in ordinary memory.
 */
export class Field {
  readonly memory: Memory;
  readonly offset: number;
  readonly text: string;

  constructor(memory: Memory, offset: number, text: string) {
    if (offset % 4 !== 0 || offset < 0 || offset + 8 > memory.size) {
      throw new TsError('Internal', `internal error: no word at ${offset} of ${text}`);
    }
    this.memory = memory;
    this.offset = offset;
    this.text = text;
  }
}

/**
 * The result of a step, for later steps and, after the run, for JavaScript. Every process of a
 * program has its own copy: what a child stores, its parent does not see.
 *
 * One that is made with `new` belongs to no step: it is a variable, which the steps that have its
 * {@link field} as `into` set, such as those of branches that come together again.
 */
export class Result {
  /** Index of the step whose result it is; undefined for a variable. */
  readonly step: number | undefined;
  readonly name: string | undefined;
  /** As {@link field}, but undefined if nobody has asked for one: the step's record has the value. */
  chosenField: Field | undefined;

  constructor(name?: string, field?: Field, step?: number) {
    this.step = step;
    this.name = name;
    this.chosenField = field ?? (step === undefined ? this.field : undefined);
  }

  get text(): string {
    return this.name ?? (this.step === undefined ? 'variable' : `step${this.step}`);
  }

  /** Where the value is stored. */
  get field(): Field {
    this.chosenField ??= new Field(new Memory(8, () => `&${this.text}`), 0, this.text);
    return this.chosenField;
  }
}

/** An fd, pid or other number that is known when the program is built, or a step's result. */
export type Value = number | bigint | Result;

/**
 * What a step can pass to the kernel: a number, NULL, a C string, a named number, a struct's
 * address, or a value that an earlier step left behind.
 */
export type Argument = number | bigint | null | string | Named | Memory | Result | Field;

/** The argument as a C programmer would write it. */
export function explainArgument(argument: Argument): string {
  if (argument === null) return 'NULL';
  if (typeof argument === 'string') return JSON.stringify(argument);
  if (typeof argument === 'object') return argument.text;
  return String(argument);
}

/** Constant bytes; text is encoded as UTF-8, without a NUL at its end. */
export function bytesOf(data: string | Uint8Array): Memory {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  const text = () => (typeof data === 'string' ? JSON.stringify(data) : `{${bytes.length} bytes}`);
  return new Memory(bytes.length, text, (view) => {
    new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(bytes);
  });
}
