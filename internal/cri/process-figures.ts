// What /proc says of the processes of a container. Each of them may end, or make more, while it is read: what is gone is not
// counted. The kernel answers at once, so nothing here waits for a disk.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { isErrno } from '../errors/index.ts';

/** States of tasks in cAdvisor's words, by the letters of the kernel (man 5 proc, /proc/pid/stat). */
const STATES = {
  running: 'R',
  sleeping: 'SI',
  stopped: 'Tt',
  uninterruptible: 'D',
} as const;
export type TaskState = keyof typeof STATES;
export const TASK_STATES = Object.keys(STATES) as TaskState[];

export interface ProcessFigures {
  readonly threads: bigint;
  readonly descriptors: bigint;
  readonly sockets: bigint;
  readonly states: Readonly<Record<TaskState, bigint>>;
  /** Soft limit to open files of the first process; undefined when there is none. */
  readonly openFilesLimit: bigint | undefined;
}

/** Figures of processes; the first is the container's own. */
export function processFigures(pids: readonly number[]): ProcessFigures {
  const letters = pids.flatMap(taskLetters);
  const targets = pids.flatMap(descriptorTargets);
  const count = (state: TaskState): bigint =>
    BigInt(letters.filter((letter) => STATES[state].includes(letter)).length);
  const [, limit] = /^Max open files\s+(\d+)/m.exec(textOf(`/proc/${pids[0]}/limits`)) ?? [];
  return {
    threads: BigInt(letters.length),
    descriptors: BigInt(targets.length),
    sockets: BigInt(targets.filter((target) => target.startsWith('socket:')).length),
    states: {
      running: count('running'),
      sleeping: count('sleeping'),
      stopped: count('stopped'),
      uninterruptible: count('uninterruptible'),
    },
    openFilesLimit: limit === undefined ? undefined : BigInt(limit),
  };
}

/** The state of each thread. The name in front of it may have brackets and spaces. */
function taskLetters(pid: number): string[] {
  return namesIn(`/proc/${pid}/task`)
    .map((thread) => textOf(`/proc/${pid}/task/${thread}/stat`))
    .filter((stat) => stat !== '')
    .map((stat) => stat.charAt(stat.lastIndexOf(')') + 2));
}

function descriptorTargets(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  return namesIn(directory).flatMap((fd) =>
    unlessEnded(() => [readlinkSync(`${directory}/${fd}`)], []),
  );
}

const namesIn = (directory: string): string[] => unlessEnded(() => readdirSync(directory), []);

const textOf = (file: string): string => unlessEnded(() => readFileSync(file, 'latin1'), '');

/** What is read, or `otherwise` when its process has ended. */
function unlessEnded<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT', 'ESRCH')) return otherwise;
    throw thrown;
  }
}
