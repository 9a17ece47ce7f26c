import { TsError } from '../errors/index.ts';
import type { WindowSize } from '../linux/index.ts';
import type { ProcessExit } from './exit-ledger.ts';
import { Lock } from './lock.ts';
import { NULL_IO, type ProcessIo, type StdioRequest } from './process-io.ts';
import { ProcessState } from './process-state.ts';

/** Greatest number of rows or columns (struct winsize). */
const MAX_SIZE = 0xffff;

/** A container's init process or one that was executed in it, as the task API sees it. */
export class TaskProcess {
  /** Empty for the init process. */
  readonly execId: string;
  readonly stdio: StdioRequest;
  readonly state = new ProcessState();
  /** One change of state at a time. */
  readonly lock = new Lock();
  /** The JSON of the process object; empty for the init process, whose is in config.json. */
  readonly spec: string;
  io: ProcessIo = NULL_IO;
  /** 0 until it was created. */
  pid = 0;
  /** A start that is under way: its event comes before that of the exit. */
  starting: Promise<unknown> = Promise.resolve();
  #reaped: ProcessExit | undefined;
  #exit: ProcessExit | undefined;
  #resolveExited: (exit: ProcessExit) => void = () => {};
  #rejectExited: (error: TsError) => void = () => {};

  /** Resolves when the exit is known and its output is delivered. */
  readonly exited: Promise<ProcessExit>;

  constructor(execId: string, stdio: StdioRequest, spec = '') {
    this.execId = execId;
    this.stdio = stdio;
    this.spec = spec;
    this.exited = new Promise((resolve, reject) => {
      this.#resolveExited = resolve;
      this.#rejectExited = reject;
    });
    this.exited.catch(() => {}); // whoever waits hears of it
  }

  /** The exit as it was told to clients. */
  get exit(): ProcessExit | undefined {
    return this.#exit;
  }

  /** Whether the kernel has given its pid back. */
  get isReaped(): boolean {
    return this.#reaped !== undefined;
  }

  /** The pid may belong to another process from now on. */
  markReaped(exit: ProcessExit): void {
    this.#reaped = exit;
  }

  /** The exit is final: tells everybody who waits. */
  markExited(exit: ProcessExit): void {
    this.#exit = exit;
    this.state.become('stopped');
    this.#resolveExited(exit);
  }

  /** The record goes; who still waits for a process that never ran is told. */
  markDeleted(): void {
    this.state.become('deleted');
    this.#rejectExited(new TsError('NotFound', 'process was deleted before it ran'));
  }

  /** Waits for an exit that is being dealt with, so that it counts for what comes next. */
  async settle(): Promise<void> {
    if (this.isReaped && this.#exit === undefined) await this.exited;
  }

  resize(size: WindowSize): void {
    this.state.assertCan('resize');
    if (size.columns > MAX_SIZE || size.rows > MAX_SIZE) {
      throw new TsError('InvalidArgument', `resize to ${size.columns} by ${size.rows}: too large`);
    }
    this.io.resize(size);
  }
}
