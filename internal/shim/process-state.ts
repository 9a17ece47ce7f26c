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

/** What containerd's shim says, which scripts may look for. */
function refusal(operation: ProcessOperation, status: ProcessStatus): string {
  switch (operation) {
    case 'exec':
      return `cannot exec in a ${status} state`;
    case 'pause':
    case 'resume':
      if (status === 'created') return `cannot ${operation} task in created state`;
      return `cannot ${operation} a ${status} ${status === 'running' ? 'process' : 'container'}`;
    case 'checkpoint':
      if (status === 'created') return 'cannot checkpoint a task in created state';
      return `cannot checkpoint a ${status} container`;
    case 'update':
    case 'resize':
      return `cannot ${operation} a ${status} container`;
    default:
      return `cannot ${operation} a ${status} process`;
  }
}

/** The life of one process as a state machine; knows nothing of pids or pipes. */
export class ProcessState {
  #status: ProcessStatus = 'created';

  get status(): ProcessStatus {
    return this.#status;
  }

  /**
   * Throws when `operation` is not possible now, in the words of containerd's shim, which gives no
   * code for it: Unknown; NotFound once deleted.
   */
  assertCan(operation: ProcessOperation): void {
    const status = this.#status;
    if (ALLOWED[status].has(operation)) return;
    const kind = status === 'deleted' ? 'NotFound' : 'Unknown';
    throw new TsError(kind, refusal(operation, status));
  }

  /** Moves on. A step that the life of a process does not have is a bug of ours. */
  become(next: ProcessStatus): void {
    if (!NEXT[this.#status].includes(next)) {
      throw new TsError('Internal', `internal error: process goes from ${this.#status} to ${next}`);
    }
    this.#status = next;
  }
}
