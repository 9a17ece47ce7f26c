import { nowNs } from '../api/time.ts';
import { peekExitedChild, reap } from '../linux/index.ts';
import type { ChildRegistry } from './command.ts';
import type { ProcessExit } from './exit-ledger.ts';

/**
 * Reaps what the kernel gives to a subreaper: the processes of containers, and whatever else they
 * leave behind. Children that libuv has spawned are left to libuv; while one of them is the first
 * to be reaped, those behind it cannot be seen, and libuv's own turn makes the reaper look again.
 */
export class Reaper implements Disposable {
  readonly #children: ChildRegistry;
  readonly #onExit: (exit: ProcessExit) => void;
  readonly #reapAll = (): void => {
    for (;;) {
      const first = peekExitedChild();
      if (first === undefined || this.#children.has(first.pid)) return;
      const child = reap(first.pid);
      if (child === undefined) continue;
      this.#onExit({ pid: child.pid, status: child.exitCode, exitedAtNs: nowNs() });
    }
  };

  constructor(children: ChildRegistry, onExit: (exit: ProcessExit) => void) {
    this.#children = children;
    this.#onExit = onExit;
    children.onExit(this.#reapAll);
    process.on('SIGCHLD', this.#reapAll);
    this.#reapAll(); // whoever ended before anybody listened
  }

  [Symbol.dispose](): void {
    process.off('SIGCHLD', this.#reapAll);
    this.#children.onExit(() => {});
  }
}
