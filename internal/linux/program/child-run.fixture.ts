import { readdirSync, readFileSync } from 'node:fs';
import { TsError } from '../../errors/index.ts';
import { Pipe } from '../pipe.ts';
import { type CloneOptions, cloneProcess } from '../steps/namespaces.ts';
import { type ExitedChild, waitForChild } from '../wait.ts';
import type { Sequence } from './sequence.ts';
import { SyscallProgram } from './syscall-program.ts';

/** What became of a program with one child. */
export interface ChildRun {
  /** Announcements by name, in their order, with their values. */
  readonly announced: readonly (readonly [name: string, value: bigint])[];
  /** The failure that a child reported. */
  readonly failure: TsError | undefined;
  readonly exit: ExitedChild | undefined;
  readonly program: SyscallProgram;
}

/** Runs steps in a cloned child, reads its reports to their end and reaps it. */
export function runInChild(
  build: (child: Sequence, reportTo: number) => void,
  options: CloneOptions = {},
): ChildRun {
  using pipe = new Pipe();
  const reportTo = pipe.writeEnd.number;
  const program = new SyscallProgram();
  const pid = program.main.clone(cloneProcess(options), { reportTo }, (child) =>
    build(child, reportTo),
  );
  using run = program.run();
  pipe.writeEnd.close();
  const announced: [string, bigint][] = [];
  let failure: TsError | undefined;
  try {
    for (;;) {
      const reached = program.readReport(pipe.readEnd.number);
      if (reached === undefined) break;
      announced.push([reached.announcement.name, reached.value]);
    }
  } catch (thrown) {
    failure = TsError.from(thrown);
  }
  return { announced, failure, exit: waitForChild(run.value(pid)), program };
}

/** Runs steps in this process and returns the text of the error, or undefined. */
export function failureInProcess(build: (sequence: Sequence) => void): TsError | undefined {
  const program = new SyscallProgram();
  build(program.main);
  try {
    using run = program.run();
    void run;
    return undefined;
  } catch (thrown) {
    return TsError.from(thrown);
  }
}

/** What a process can leak: open descriptors, mappings, children that nobody reaped. */
export interface Possessions {
  readonly descriptors: number;
  readonly mappings: number;
  readonly children: string;
}

export function possessions(): Possessions {
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    mappings: readFileSync('/proc/self/maps', 'latin1').split('\n').length,
    children: readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1'),
  };
}

/** For tests that need root: the reason to skip them, or false. */
export const needsRoot: string | false = process.getuid?.() === 0 ? false : 'needs root';
