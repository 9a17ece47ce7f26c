import { TsError } from '../errors/index.ts';

/** A process of the task API from its record's creation to its deletion. */
export type ProcessStatus = 'created' | 'running' | 'paused' | 'stopped' | 'deleted';

/** What a client can ask of a process; whether it may depends on the status. */
export type ProcessOperation =
  | 'start'
  | 'delete'
  | 'pause'
  | 'resume'
  | 'exec'
  | 'update'
  | 'checkpoint'
  | 'resize';

const ALLOWED: Readonly<Record<ProcessStatus, ReadonlySet<ProcessOperation>>> = {
  created: new Set(['start', 'delete', 'exec', 'update', 'resize']),
  running: new Set(['pause', 'exec', 'update', 'checkpoint', 'resize']),
  paused: new Set(['resume', 'update', 'checkpoint', 'resize']),
  stopped: new Set(['delete']),
  deleted: new Set(),
};

const NEXT: Readonly<Record<ProcessStatus, readonly ProcessStatus[]>> = {
  created: ['running', 'stopped', 'deleted'],
  running: ['paused', 'stopped'],
  paused: ['running', 'stopped'],
  stopped: ['deleted'],
  deleted: [],
};

/** The life of one process as a state machine; knows nothing of pids or pipes. */
export class ProcessState {
  #status: ProcessStatus = 'created';

  get status(): ProcessStatus {
    return this.#status;
  }

  /** Throws FailedPrecondition (NotFound once deleted) when `operation` is not possible now. */
  assertCan(operation: ProcessOperation): void {
    if (ALLOWED[this.#status].has(operation)) return;
    const kind = this.#status === 'deleted' ? 'NotFound' : 'FailedPrecondition';
    throw new TsError(kind, `cannot ${operation} a ${this.#status} process`);
  }

  /** Moves on. A step that the life of a process does not have is a bug of ours. */
  become(next: ProcessStatus): void {
    if (!NEXT[this.#status].includes(next)) {
      throw new TsError('Internal', `internal error: process goes from ${this.#status} to ${next}`);
    }
    this.#status = next;
  }
}
