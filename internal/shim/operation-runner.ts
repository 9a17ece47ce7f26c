import {
  blockUntilReadable,
  type ExitedChild,
  type Operation,
  openPidfd,
  reap,
  type Wait,
  waitReadable,
} from '../linux/index.ts';
import type { ChildRegistry } from './command.ts';
import type { ExitLedger, ExitWatch } from './exit-ledger.ts';

/** Runs operations of the runtime between the other work of the event loop. */
export class OperationRunner {
  readonly #children: ChildRegistry;
  readonly #ledger: ExitLedger;

  constructor(children: ChildRegistry, ledger: ExitLedger) {
    this.#children = children;
    this.#ledger = ledger;
  }

  /**
   * Runs an operation to its end. When `signal` is aborted, the reason is thrown into what it waits
   * for, and it may take what time it needs to clean up.
   */
  async run<T>(operation: Operation<T>, signal?: AbortSignal): Promise<T> {
    using watch = this.#ledger.watch();
    const held = new Set<number>();
    let abort = signal;
    try {
      for (let next = operation.next(); ; ) {
        if (next.done === true) return next.value;
        const wait = next.value;
        if (wait.until === 'adopted') {
          next = operation.next(this.#adopt(wait.pid, watch, held));
          continue;
        }
        let outcome: unknown;
        try {
          outcome = await this.#wait(wait, held, abort);
        } catch (thrown) {
          if (abort?.aborted === true) abort = undefined; // what follows is the clean-up
          next = operation.throw(thrown);
          continue;
        }
        next = operation.next(outcome);
      }
    } finally {
      for (const pid of held) this.#children.release(pid);
    }
  }

  #adopt(pid: number, watch: ExitWatch, held: Set<number>): boolean {
    if (watch.has(pid)) return false;
    this.#children.hold(pid);
    held.add(pid);
    return true;
  }

  async #wait(
    wait: Exclude<Wait, { until: 'adopted' }>,
    held: Set<number>,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    switch (wait.until) {
      case 'readable':
        return becomesReadable(wait.fd, wait.timeoutMs, signal);
      case 'exit':
        return this.#exit(wait.pid, wait.timeoutMs, held, signal);
      case 'time':
        return passes(wait.ms, signal);
      case 'settled':
        return wait.promise;
    }
  }

  async #exit(
    pid: number,
    timeoutMs: number | undefined,
    held: Set<number>,
    signal: AbortSignal | undefined,
  ): Promise<ExitedChild | undefined> {
    let exit = reap(pid);
    if (exit === undefined) {
      using pidfd = openPidfd(pid);
      if (pidfd !== undefined) await becomesReadable(pidfd.number, timeoutMs, signal);
      exit = reap(pid);
    }
    if (exit !== undefined && held.delete(pid)) this.#children.release(pid);
    return exit;
  }
}

/** Waits for so long. Rejects when `signal` is aborted. */
async function passes(ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const abort = () => reject(signal?.reason);
  signal?.addEventListener('abort', abort);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

/** False when it is not within `timeoutMs`. Rejects when `signal` is aborted. */
async function becomesReadable(
  fd: number,
  timeoutMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  signal?.throwIfAborted();
  if (blockUntilReadable(fd, 0)) return true; // asks only: most children are quick
  if (timeoutMs === undefined) {
    await waitReadable(fd, signal);
    return true;
  }
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeoutMs);
  const signals = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
  try {
    await waitReadable(fd, signals);
    return true;
  } catch (thrown) {
    if (late.signal.aborted && signal?.aborted !== true) return false;
    throw thrown;
  } finally {
    clearTimeout(timer);
  }
}
