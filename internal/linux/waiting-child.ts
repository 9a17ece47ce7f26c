import type { OwnedFd } from './fd.ts';
import { openPidfd, signalPidfd } from './pidfd.ts';
import { Pipe } from './pipe.ts';
import { SyscallProgram } from './program/index.ts';
import * as steps from './steps/index.ts';
import { waitForChild } from './wait.ts';

const SIGKILL = 9;

/**
 * A child that only waits for its end: it keeps a place that needs a process, such as a cgroup, until another takes it. It
 * ends by itself when this process does, whatever kills that.
 */
export class WaitingChild implements Disposable {
  readonly pid: number;
  readonly #gate = new Pipe();
  #pidfd: OwnedFd | undefined;

  constructor() {
    try {
      using reports = new Pipe();
      const program = new SyscallProgram();
      const pid = program.main.clone(
        steps.cloneProcess({}),
        { reportTo: reports.writeEnd.number },
        (child) => {
          child.add(steps.closeFrom(this.#gate.writeEnd.number, 'now'));
          child.add(steps.waitForBytes(this.#gate.readEnd.number));
        },
      );
      using run = program.run();
      this.pid = run.value(pid);
      this.#pidfd = openPidfd(this.pid);
    } catch (thrown) {
      this.#gate[Symbol.dispose]();
      throw thrown;
    }
  }

  /** Ends it and waits for that. */
  [Symbol.dispose](): void {
    using pidfd = this.#pidfd;
    this.#pidfd = undefined;
    // A child made meanwhile may hold the gate open until it executes a program. One that has died may have been reaped.
    const isThere = pidfd !== undefined && signalPidfd(pidfd, SIGKILL);
    this.#gate[Symbol.dispose]();
    if (isThere) waitForChild(this.pid);
  }
}
