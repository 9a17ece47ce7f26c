import { TsError } from '../../errors/index.ts';
import { type Field, Memory, Named, Result, type Value } from './argument.ts';
import { ARGUMENTS, REPORT_BYTES } from './record.ts';
import { failAs, type Step, type StepOptions } from './step.ts';

/** A step at its place in a program, with what depends on how it ends. */
export class Item {
  readonly index: number;
  readonly step: Step;
  readonly options: StepOptions;
  readonly result: Result;
  /** Runs only after success, before the next item. */
  ifSucceeded: Sequence | undefined;
  /** Runs only after a tolerated error, before the next item. */
  ifTolerated: Sequence | undefined;
  /** What the child runs, if the step clones one. */
  child: Process | undefined;

  constructor(index: number, step: Step, options: StepOptions) {
    this.index = index;
    this.step = step;
    this.options = options;
    this.result = new Result(options.as, options.into, index);
    this.ifSucceeded = undefined;
    this.ifTolerated = undefined;
    this.child = undefined;
  }

  get label(): string {
    return this.options.label ?? this.step.label;
  }
}

/** What one process runs: its steps, what follows the last of them, what follows one that failed. */
export interface Process {
  readonly body: Sequence;
  readonly end: Sequence;
  readonly failure: Sequence;
}

/** What the sequences of one program share. */
export interface Parts {
  /** Every item of every sequence; the index is the item's number in errors and explanations. */
  readonly items: Item[];
  /** Where a failing step leaves errno and index. */
  readonly report: Memory;
  /** Names of announcements by the index of their step. */
  readonly announcements: Map<number, Announcement>;
}

/** A message from a child to say that it got to a certain step. */
export class Announcement {
  readonly name: string;
  /** So many bytes follow the message. */
  readonly byteCount: number;

  constructor(name: string, byteCount = 0) {
    this.name = name;
    this.byteCount = byteCount;
  }
}

/** Where a step leaves its result (as `into`) for {@link Sequence.announceStored}. */
export class StoredValue {
  readonly message: Memory;
  /** Of the announcing step; set when it is added. */
  index = 0;

  constructor() {
    this.message = new Memory(
      REPORT_BYTES,
      () => 'message',
      (view) => view.setBigUint64(8, BigInt(this.index), true),
    );
  }

  get field(): Field {
    return this.message.field(16, 'value');
  }
}

/** What runs only if a step succeeds, or only if its error is tolerated. */
export interface BranchOptions extends StepOptions {
  ifSucceeded?: (sequence: Sequence) => void;
  ifTolerated?: (sequence: Sequence) => void;
}

/** How a cloned child reports, and ends if a step of it fails. */
export interface ChildOptions extends StepOptions {
  /** Write end of the pipe that takes the child's announcements and the report of its failure. */
  reportTo: Value;
  /** Exit status of a child whose step failed. */
  failureStatus?: number;
}

/** Bytes that can follow a message. */
export const ANNOUNCED_BYTES = 1024;

const NO_OPTIONS: StepOptions = {};
const SIGKILL = new Named(9, 'SIGKILL');

/** Steps that run one after the other in one process. */
export class Sequence {
  readonly items: Item[] = [];
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Appends a step and returns its result-to-be, which can be an argument of any later step. */
  add(step: Step, options: BranchOptions = NO_OPTIONS): Result {
    const item = this.#append(step, options);
    const { ifSucceeded, ifTolerated } = options;
    if (ifSucceeded !== undefined) item.ifSucceeded = this.#block(ifSucceeded);
    if (ifTolerated !== undefined) {
      if (options.tolerate === undefined) {
        throw new TsError('Internal', `internal error: "${item.label}" branches on no error`);
      }
      item.ifTolerated = this.#block(ifTolerated);
    }
    return item.result;
  }

  addAll(steps: Iterable<Step>, options: StepOptions = {}): void {
    for (const step of steps) this.add(step, options);
  }

  /**
   * Appends a clone. The child runs the steps that `build` adds and exits with status 0 if it gets to
   * their end; this sequence goes on with the child's pid as the result.
   *
   * The child starts with all signals blocked, as {@link SyscallProgram.run} blocks them.
   */
  clone(step: Step, options: ChildOptions, build: (child: Sequence) => void): Result {
    const { reportTo, failureStatus = 1 } = options;
    const item = this.#append(step, options);
    item.child = {
      body: this.#block(build),
      end: this.#block((sequence) => sequence.add(exit(0))),
      failure: this.#block((sequence) => {
        sequence.add(writeReport(reportTo, this.#parts.report), { tolerate: 'any' });
        sequence.add(exit(failureStatus));
      }),
    };
    return item.result;
  }

  /** Appends a step that tells the reader of the report pipe: this point was reached. */
  announce(name: string, reportTo: Value, value?: Result): Announcement {
    return this.#announce(name, reportTo, value).announcement;
  }

  /**
   * As {@link announce}, of a pid that nobody else knows. If the reader cannot be told, nobody could
   * end that process: then it is killed.
   */
  announceProcess(name: string, reportTo: Value, pid: Result): Announcement {
    const { announcement, item } = this.#announce(name, reportTo, pid, { tolerate: 'any' });
    item.ifTolerated = this.#block((untold) => {
      const kill: Step = { label: `kill what is ${name}`, call: 'kill', args: [pid, SIGKILL] };
      untold.add(kill, { tolerate: 'any' });
      untold.add(failAs(item.label, item.result));
    });
    return announcement;
  }

  #announce(name: string, reportTo: Value, value?: Result, options: StepOptions = NO_OPTIONS) {
    const announcement = new Announcement(name);
    const index = this.#parts.items.length;
    const args = [reportTo, announcementVector(index, name, value), 2];
    const item = this.#append({ label: `announce ${name}`, call: 'writev', args }, options);
    this.#parts.announcements.set(index, announcement);
    return { announcement, item };
  }

  /** As {@link announce}, with write(2): the one call that a process under a new seccomp filter is sure to have. */
  announceStored(name: string, reportTo: Value, stored: StoredValue): Announcement {
    const announcement = new Announcement(name);
    stored.index = this.#parts.items.length;
    const args = [reportTo, stored.message, REPORT_BYTES];
    this.#append({ label: `announce ${name}`, call: 'write', args }, NO_OPTIONS);
    this.#parts.announcements.set(stored.index, announcement);
    return announcement;
  }

  /**
   * Announces bytes that earlier steps left in `buffer`, all of it, of which `count` are meant. At most {@link ANNOUNCED_BYTES}:
   * more than that and the message were not atomic.
   */
  announceBytes(
    name: string,
    reportTo: Value,
    buffer: Memory,
    count: Result,
    options: BranchOptions = NO_OPTIONS,
  ): void {
    if (buffer.size > ANNOUNCED_BYTES) {
      throw new TsError('Internal', `internal error: ${buffer.size} bytes are announced`);
    }
    const index = this.#parts.items.length;
    const vector = announcementVector(index, name, count, buffer);
    const label = `announce ${name}`;
    this.#append({ label, call: 'writev', args: [reportTo, vector, 3] }, options);
    this.#parts.announcements.set(index, new Announcement(name, buffer.size));
  }

  #append(step: Step, options: StepOptions): Item {
    if (step.args.length > ARGUMENTS) {
      throw new TsError('Internal', `internal error: "${step.label}" has more than six arguments`);
    }
    const { items } = this.#parts;
    const item = new Item(items.length, step, options);
    items.push(item);
    this.items.push(item);
    return item;
  }

  #block(build: (sequence: Sequence) => void): Sequence {
    const sequence = new Sequence(this.#parts);
    build(sequence);
    return sequence;
  }
}

function exit(status: number): Step {
  return { label: 'exit', call: 'exit_group', args: [status] };
}

function writeReport(fd: Value, report: Memory): Step {
  return { label: 'report the failed step', call: 'write', args: [fd, report, REPORT_BYTES] };
}

/**
 * Two buffers, one message: {errno 0, index} and the value; a third one follows it if there is. Atomic, since shorter than
 * PIPE_BUF.
 */
function announcementVector(
  index: number,
  name: string,
  value: Result | undefined,
  bytes?: Memory,
): Memory {
  const head = new Memory(
    16,
    () => name,
    (view) => view.setBigUint64(8, BigInt(index), true),
  );
  const tail = value?.field ?? new Memory(8, () => '0').field(0, '0');
  const text = () => `{"${name}"${value === undefined ? '' : `, ${value.text}`}}`;
  return new Memory(bytes === undefined ? 32 : 48, text, (view, placement) => {
    view.setBigUint64(0, BigInt(placement.memory(head)), true);
    view.setBigUint64(8, 16n, true);
    view.setBigUint64(16, BigInt(placement.memory(tail.memory) + tail.offset), true);
    view.setBigUint64(24, 8n, true);
    if (bytes === undefined) return;
    view.setBigUint64(32, BigInt(placement.memory(bytes)), true);
    view.setBigUint64(40, BigInt(bytes.size), true);
  });
}
