import { kill } from './kill.ts';
import { Pipe } from './pipe.ts';
import { SyscallProgram } from './program/index.ts';
import * as steps from './steps/index.ts';
import { waitForChild } from './wait.ts';

const SIGKILL = 9;

/**
 * Kills a process group when this process ends, whatever ends it: for programs of others, which do not look whether we
 * are still there. A child waits for that, at a pipe whose other end only this process has.
 */
export class GroupGuard implements Disposable {
  readonly #pid: number;
  readonly #gate = new Pipe();

  /** `group` is a process group that is there. */
  constructor(group: number) {
    try {
      using reports = new Pipe();
      const program = new SyscallProgram();
      const pid = program.main.clone(
        steps.cloneProcess({}),
        { reportTo: reports.writeEnd.number, as: 'guard' },
        (child) => {
          // No other descriptor of this process may live on with it.
          child.add(steps.duplicate(this.#gate.readEnd.number, 0));
          child.add(steps.closeFrom(1, 'now'));
          child.add(steps.waitForBytes(0), { retryOn: 'EINTR' });
          child.add(steps.killGroup(group, 'SIGKILL'), { tolerate: ['ESRCH'] });
        },
      );
      using run = program.run();
      this.#pid = run.value(pid);
      this.#gate.readEnd.close();
    } catch (thrown) {
      this.#gate[Symbol.dispose]();
      throw thrown;
    }
  }

  /** Ends the guard; the group lives on. */
  [Symbol.dispose](): void {
    kill(this.#pid, SIGKILL); // before its gate: it must not take this for our end
    this.#gate[Symbol.dispose]();
    waitForChild(this.#pid);
  }
}
