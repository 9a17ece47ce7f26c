/** How and when a process ended. */
export interface ProcessExit {
  readonly pid: number;
  /** The exit code, or 128 + the number of the signal that killed it. */
  readonly status: number;
  /** Nanoseconds since the epoch, taken when the process was reaped. */
  readonly exitedAtNs: bigint;
}

type Listener = (exit: ProcessExit) => void;

/** A time during which a process of yet unknown pid may end. */
export interface ExitWatch extends Disposable {
  /**
   * Calls `listener` once when `pid` ends, or at once if it has ended since the watch began. The
   * claim outlives the watch.
   */
  claim(pid: number, listener: Listener): void;
  /** Whether a process with this pid has been reaped meanwhile. */
  has(pid: number): boolean;
}

/**
 * Brings the exits that the reaper sees to whom they belong.
 *
 * A container's process is known by pid only after the runtime has answered, and may be dead by
 * then. So the exits of unknown pids are kept while a start is under way, and only then: whatever
 * else a subreaper inherits comes and goes unnoticed, and an old exit is never taken for that of
 * a new process with the same pid.
 */
export class ExitLedger {
  readonly #listeners = new Map<number, Listener>();
  readonly #watches = new Set<Map<number, ProcessExit>>();

  #onClaim: (pid: number) => void = () => {};

  /** The processes whose exit somebody waits for. */
  get claimed(): number[] {
    return [...this.#listeners.keys()];
  }

  /** Called when somebody begins to wait for a process, which may have ended unseen. */
  onClaim(listener: (pid: number) => void): void {
    this.#onClaim = listener;
  }

  /** Begins a watch; to be called before the runtime is started. */
  watch(): ExitWatch {
    const seen = new Map<number, ProcessExit>();
    this.#watches.add(seen);
    return {
      claim: (pid, listener) => {
        const exit = seen.get(pid);
        if (exit !== undefined) {
          listener(exit);
          return;
        }
        this.#listeners.set(pid, listener);
        this.#onClaim(pid);
      },
      has: (pid) => seen.has(pid),
      [Symbol.dispose]: () => {
        this.#watches.delete(seen);
      },
    };
  }

  /** Takes note of a reaped process. */
  record(exit: ProcessExit): void {
    const listener = this.#listeners.get(exit.pid);
    if (listener !== undefined) {
      this.#listeners.delete(exit.pid);
      listener(exit);
      return;
    }
    for (const seen of this.#watches) seen.set(exit.pid, exit);
  }
}
