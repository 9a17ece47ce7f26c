import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { getAsset, isSea } from 'node:sea';
import { Worker } from 'node:worker_threads';
import { TsError } from '../errors/index.ts';
import { trimMemory } from '../linux/malloc.ts';
import type { Job, JobAnswer, JobMessage, JobResult } from './job.ts';

/** A worker costs some 5 MB: one that had nothing to do for this long is ended. */
const IDLE_MS = 10_000;

interface Pending {
  readonly job: Job;
  readonly cancel: Int32Array<SharedArrayBuffer>;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Runs jobs in worker threads, as many at once as there are processors, at most four. */
export class WorkerPool implements AsyncDisposable {
  readonly #size: number;
  readonly #queue: Pending[] = [];
  readonly #idle: { worker: Worker; timer: NodeJS.Timeout }[] = [];
  readonly #busy = new Map<Worker, Pending>();
  #isClosed = false;

  constructor(size = Math.min(4, availableParallelism())) {
    this.#size = size;
  }

  /**
   * Runs a job. Descriptors in it must stay open until the promise settles, which it does after the
   * worker let go of them, also when `signal` aborts it.
   */
  async run<J extends Job>(job: J, signal?: AbortSignal): Promise<JobResult<J>> {
    if (this.#isClosed) throw stopping();
    if (signal?.aborted) throw new TsError('Canceled', 'context canceled');
    const cancel = new Int32Array(new SharedArrayBuffer(4));
    const abort = (): void => {
      Atomics.store(cancel, 0, 1);
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await new Promise<JobResult<J>>((resolve, reject) => {
        const done = resolve as (result: unknown) => void;
        this.#queue.push({ job, cancel, resolve: done, reject });
        this.#next();
      });
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Ends all threads; jobs that wait are rejected, those that run when their thread has ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const workers = [...this.#idle.map(({ worker }) => worker), ...this.#busy.keys()];
    for (const { timer } of this.#idle.splice(0)) clearTimeout(timer);
    for (const pending of this.#queue.splice(0)) pending.reject(stopping());
    await Promise.all(workers.map((worker) => worker.terminate()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #next(): void {
    while (!this.#isClosed && this.#queue.length > 0 && this.#busy.size < this.#size) {
      const pending = this.#queue.shift();
      if (pending === undefined) return;
      const worker = this.#take();
      this.#busy.set(worker, pending);
      const message: JobMessage = { job: pending.job, cancel: pending.cancel };
      worker.ref();
      worker.postMessage(message);
    }
  }

  #take(): Worker {
    const idle = this.#idle.pop();
    if (idle === undefined) return this.#start();
    clearTimeout(idle.timer);
    return idle.worker;
  }

  #start(): Worker {
    // Descriptors are opened and closed by system calls of our own, which Node does not track.
    const options = { name: 'snapshots', trackUnmanagedFds: false };
    const worker = isSea()
      ? new Worker(getAsset('snapshot-worker.js', 'utf8'), { ...options, eval: true })
      : new Worker(join(import.meta.dirname, 'worker.ts'), options);
    worker.on('message', (answer: JobAnswer) => this.#settle(worker, answer));
    worker.on('error', (error) => this.#lost(worker, TsError.from(error, 'snapshot worker')));
    worker.on('exit', (code) => {
      this.#lost(worker, new TsError('Internal', `snapshot worker exited with ${code}`));
    });
    return worker;
  }

  #settle(worker: Worker, answer: JobAnswer): void {
    const pending = this.#busy.get(worker);
    this.#busy.delete(worker);
    worker.unref(); // an idle thread does not keep the process alive
    if (!this.#isClosed) {
      const timer = setTimeout(() => this.#retire(worker), IDLE_MS);
      timer.unref();
      this.#idle.push({ worker, timer });
    }
    if ('error' in answer) {
      const { kind, message, code, advice, fields } = answer.error;
      const details = {
        fields,
        ...(code === undefined ? {} : { code }),
        ...(advice === undefined ? {} : { advice }),
      };
      pending?.reject(new TsError(kind, message, details));
    } else pending?.resolve(answer.result);
    this.#next();
  }

  #retire(worker: Worker): void {
    const index = this.#idle.findIndex((idle) => idle.worker === worker);
    if (index !== -1) this.#idle.splice(index, 1);
    // Transfers are over, or at least pause: what their buffers took is of use to others.
    void worker.terminate().then(trimMemory);
  }

  #lost(worker: Worker, error: TsError): void {
    const index = this.#idle.findIndex((idle) => idle.worker === worker);
    const [idle] = index === -1 ? [] : this.#idle.splice(index, 1);
    clearTimeout(idle?.timer);
    this.#busy.get(worker)?.reject(this.#isClosed ? stopping() : error);
    this.#busy.delete(worker);
    this.#next();
  }
}

function stopping(): TsError {
  return new TsError('Unavailable', 'the daemon is stopping');
}
