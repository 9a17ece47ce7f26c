import { kill } from './kill.ts';
import { adopt, exitOf, type Operation, readable } from './operation.ts';
import { Pipe } from './pipe.ts';
import { type Sequence, SyscallProgram } from './program/index.ts';
import * as steps from './steps/index.ts';

const SIGKILL = 9;
/** How long a killed child may take to die: one that waits for a server may take for ever. */
const DEATH_MS = 2_000;

/**
 * Runs steps in a clone of this process, to its end: when one hangs, the operation can be given up. Throws what fails
 * there; `name` is what errors and traces call the child.
 */
export function* runInChild(name: string, build: (child: Sequence) => void): Operation<void> {
  using report = new Pipe();
  const program = new SyscallProgram();
  const options = { reportTo: report.writeEnd.number, as: name };
  const cloned = program.main.clone(steps.cloneProcess({}), options, (child) => {
    child.add(steps.setParentDeathSignal('SIGKILL'));
    build(child);
  });
  using run = program.run();
  report.writeEnd.close();
  const pid = run.value(cloned);
  const isOurs = yield* adopt(pid);
  try {
    yield* readable(report.readEnd.number);
    program.readReport(report.readEnd.number);
  } finally {
    if (isOurs) {
      kill(pid, SIGKILL); // it has ended, unless the operation was given up
      yield* exitOf(pid, DEATH_MS);
    }
  }
}
