import { nowNs } from '../api/time.ts';
import { peekExitedChild, reap } from '../linux/index.ts';
import type { ChildRegistry } from './command.ts';
import type { ExitLedger, ProcessExit } from './exit-ledger.ts';

/**
 * Reaps what the kernel gives to a subreaper: the processes of containers, and whatever else they
 * leave behind. Children that libuv has spawned are left to libuv, and those of an operation under way
 * to the operation, which may hang: while one of them is the first to be reaped, those behind it cannot
 * be seen. Then the processes that somebody waits for are asked for by pid, and the others wait.
 */
export class Reaper implements Disposable {
  readonly #children: ChildRegistry;
  readonly #ledger: ExitLedger;
  readonly #onExit: () => void;
  readonly #reapAll = (): void => {
    for (;;) {
      const first = peekExitedChild();
      if (first === undefined) return;
      if (this.#children.has(first.pid)) break;
      this.#reap(first.pid);
    }
    for (const pid of this.#ledger.claimed) this.#reap(pid);
  };

  /** `onExit` is called after each exit that was told to the ledger. */
  constructor(children: ChildRegistry, ledger: ExitLedger, onExit: () => void = () => {}) {
    this.#children = children;
    this.#ledger = ledger;
    this.#onExit = onExit;
    children.onExit(this.#reapAll);
    ledger.onClaim((pid) => this.#reap(pid));
    process.on('SIGCHLD', this.#reapAll);
    this.#reapAll(); // whoever ended before anybody listened
  }

  [Symbol.dispose](): void {
    process.off('SIGCHLD', this.#reapAll);
    this.#children.onExit(() => {});
    this.#ledger.onClaim(() => {});
  }

  #reap(pid: number): void {
    const child = reap(pid);
    if (child === undefined) return;
    this.#ledger.record({ pid, status: child.exitCode, exitedAtNs: nowNs() } satisfies ProcessExit);
    this.#onExit();
  }
}
