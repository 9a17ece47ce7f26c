import { TsError } from '../../errors/index.ts';
import { restartedSyscall } from '../syscall.ts';
import { Arena } from './arena.ts';
import { Memory, type Result } from './argument.ts';
import { explainProgram } from './explain.ts';
import { withoutHeapInClones } from './heap.ts';
import { runRecords } from './machine.ts';
import { ProgramPlacement } from './placement.ts';
import { BYTES_PER_WORD, REPORT_BYTES } from './record.ts';
import { decodeMessage, type Message } from './report.ts';
import { type Announcement, type Parts, type Process, Sequence } from './sequence.ts';
import { withSignalsBlocked } from './signal-mask.ts';
import { explainStep } from './step.ts';

/** Runs programs in another way than this process usually does: see trace.ts. */
export interface Tracer {
  run(main: Sequence, firstRecord: number, report: number): void;
}

let tracer: Tracer | undefined;

/** From now on all programs of this process run by `instead`; undefined: as usual. */
export function runProgramsBy(instead: Tracer | undefined): void {
  tracer = instead;
}

/** What a child wrote to the report pipe. A failure is thrown instead. */
export interface Reached {
  readonly announcement: Announcement;
  readonly value: bigint;
  /** What it announced besides, as many bytes as it said. */
  readonly bytes?: Uint8Array;
}

/**
 * System calls that run one after the other without any JavaScript between them, in this process and
 * in children that they clone.
 *
 * Node is multi-threaded, so a forked child must not run V8, and it cannot unshare or join a user
 * namespace. A program is therefore built first, as an array of records in memory of its own, and
 * then walked by 150 bytes of machine code (trampoline.ts), which works in any process:
 *
 *     const program = new SyscallProgram();
 *     const pid = program.main.clone(cloneProcess({ namespaces: ['mount'] }), { reportTo }, (child) => {
 *       const root = child.add(openat2({ path: '/rootfs', flags: ['O_PATH', 'O_CLOEXEC'] }));
 *       child.add(fchdir(root));
 *       child.add(execve({ path: '/bin/sh', args: ['sh'], env: [] }));
 *     });
 *     using run = program.run();
 *     run.value(pid);
 */
export class SyscallProgram {
  readonly #parts: Parts = {
    items: [],
    report: new Memory(REPORT_BYTES, () => 'report'),
    announcements: new Map(),
  };
  readonly #root: Process;

  /** The steps of this process. If one fails, {@link run} throws. */
  readonly main: Sequence;

  constructor() {
    const end = new Sequence(this.#parts);
    end.add({ label: 'return', call: 'end', args: [] });
    this.main = new Sequence(this.#parts);
    this.#root = { body: this.main, end, failure: end };
  }

  /**
   * Runs the program once. Throws the error of a failed step of this process; those of its children
   * come through the report pipe. Dispose the run when its values have been read.
   *
   * All signals are blocked in this thread meanwhile: a child must not run a handler of Node's.
   */
  run(by: Tracer | undefined = tracer): ProgramRun {
    const arena = new Arena();
    try {
      const placement = new ProgramPlacement(arena, this.#parts.items, this.#root);
      const report = placement.memory(this.#parts.report);
      const run = new ProgramRun(arena, placement);
      withSignalsBlocked(() => {
        if (by === undefined) withoutHeapInClones(() => runRecords(placement.first, report));
        else by.run(this.main, placement.first, report);
      });
      const message = decodeMessage(run.bytes(this.#parts.report));
      if (message.errno !== 0) throw this.#failure(message);
      return run;
    } catch (thrown) {
      arena[Symbol.dispose]();
      throw thrown;
    }
  }

  /**
   * What the message of a child says (24 bytes of the report pipe): the announcement that it made.
   * Throws the error of a failed step.
   */
  decode(message: Uint8Array): Reached {
    const decoded = decodeMessage(message);
    if (decoded.errno !== 0) throw this.#failure(decoded);
    const announcement = this.#parts.announcements.get(decoded.index);
    if (announcement === undefined) throw notOurs(decoded);
    return { announcement, value: decoded.value };
  }

  /**
   * Waits for the next message on the report pipe and decodes it. Undefined at end of file: all
   * holders of the write end have executed another program or are gone.
   */
  readReport(fd: number): Reached | undefined {
    const message = readWhole(fd, REPORT_BYTES);
    if (message === undefined) return undefined;
    const reached = this.decode(message);
    const { byteCount } = reached.announcement;
    if (byteCount === 0) return reached;
    const bytes = readWhole(fd, byteCount)?.subarray(0, Number(reached.value));
    return bytes === undefined ? reached : { ...reached, bytes };
  }

  /** The program as text, a line for each system call, with names instead of numbers. */
  explain(): string[] {
    return explainProgram(this.main);
  }

  #failure(message: Message): TsError {
    const item = this.#parts.items[message.index];
    if (item === undefined) return notOurs(message);
    const fields = { step: item.index, call: explainStep(item.step) };
    return TsError.ofErrno(message.errno, item.label, fields, item.options.advice);
  }
}

/** Undefined at end of file. A writer writes all at once. */
function readWhole(fd: number, bytes: number): Buffer | undefined {
  const message = Buffer.alloc(bytes);
  const length = restartedSyscall(() => 'read report', 'read', fd, message, bytes);
  if (length === 0) return undefined;
  if (length === bytes) return message;
  throw new TsError('Internal', `internal error: a report of ${length} bytes`);
}

function notOurs({ index }: Message): TsError {
  return new TsError('Internal', `internal error: a report of step ${index} of another program`);
}

/** What is left when a program has run: its results, until disposed. */
export class ProgramRun {
  readonly #arena: Arena;
  readonly #placement: ProgramPlacement;

  constructor(arena: Arena, placement: ProgramPlacement) {
    this.#arena = arena;
    this.#placement = placement;
  }

  /** The result of a step that this process ran; 0 if it did not run, negative if it failed. */
  value(result: Result): number {
    const bytes = this.#arena.copy(this.#placement.word(result), BYTES_PER_WORD);
    return Number(new DataView(bytes.buffer).getBigInt64(0, true));
  }

  /** A copy of a struct as this process sees it after the run. */
  bytes(memory: Memory): Uint8Array {
    return this.#arena.copy(this.#placement.memory(memory), memory.size);
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}
