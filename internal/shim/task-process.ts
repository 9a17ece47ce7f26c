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
  readonly #spec: object;
  #io: ProcessIo = NULL_IO;
  #isStdinClosed = false;
  #size: WindowSize | undefined;
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

  /** `spec` is the OCI process object; that of the init process is in config.json. */
  constructor(execId: string, stdio: StdioRequest, spec: object = {}) {
    this.execId = execId;
    this.stdio = stdio;
    this.#spec = spec;
    this.exited = new Promise((resolve, reject) => {
      this.#resolveExited = resolve;
      this.#rejectExited = reject;
    });
    this.exited.catch(() => {}); // whoever waits hears of it
  }

  /** The JSON of the process object, with what has been asked for since it was given. */
  get spec(): string {
    const terminal = this.stdio.hasTerminal;
    if (!terminal || this.#size === undefined) return JSON.stringify({ ...this.#spec, terminal });
    const consoleSize = { width: this.#size.columns, height: this.#size.rows };
    return JSON.stringify({ ...this.#spec, terminal, consoleSize });
  }

  get io(): ProcessIo {
    return this.#io;
  }

  /** Gives the process its streams; what was asked of them before is done now. */
  set io(io: ProcessIo) {
    this.#io = io;
    if (this.#isStdinClosed) io.closeStdin();
    if (this.#size !== undefined) io.resize(this.#size);
  }

  closeStdin(): void {
    this.#isStdinClosed = true;
    this.#io.closeStdin();
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
    // Of the init process containerd's shim takes a size at any time, and a stopped one has no use for it.
    if (this.execId !== '') this.state.assertCan('resize');
    if (size.columns > MAX_SIZE || size.rows > MAX_SIZE) {
      throw new TsError('InvalidArgument', `resize to ${size.columns} by ${size.rows}: too large`);
    }
    this.#size = size;
    this.#io.resize(size);
  }
}
