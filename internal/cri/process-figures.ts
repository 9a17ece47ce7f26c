// What /proc says of the processes of a container. Each of them may end, or make more, while it is read: what is gone is not
// counted. The kernel answers at once, so nothing here waits for a disk.
import { readFileSync, readlinkSync } from 'node:fs';
import { opendir } from 'node:fs/promises';
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

/** Names that are read, and what they stand for, before anything else is done. */
const AT_ONCE = 256;

export interface ProcessFigures {
  readonly threads: bigint;
  readonly descriptors: bigint;
  readonly sockets: bigint;
  readonly states: Readonly<Record<TaskState, bigint>>;
  /** Soft limit to open files of the first process; undefined when there is none. */
  readonly openFilesLimit: bigint | undefined;
}

/** Figures of processes; the first is the container's own. */
export async function processFigures(pids: readonly number[]): Promise<ProcessFigures> {
  const states = { running: 0n, sleeping: 0n, stopped: 0n, uninterruptible: 0n };
  let [threads, descriptors, sockets] = [0n, 0n, 0n];
  for (const pid of pids) {
    for await (const thread of namesIn(`/proc/${pid}/task`)) {
      const letter = stateLetter(textOf(`/proc/${pid}/task/${thread}/stat`));
      if (letter === '') continue;
      threads++;
      const state = TASK_STATES.find((each) => STATES[each].includes(letter));
      if (state !== undefined) states[state]++;
    }
    for await (const fd of namesIn(`/proc/${pid}/fd`)) {
      const target = unlessEnded(() => readlinkSync(`/proc/${pid}/fd/${fd}`), '');
      if (target !== '') descriptors++;
      if (target.startsWith('socket:')) sockets++;
    }
  }
  const [, limit] = /^Max open files\s+(\d+)/m.exec(textOf(`/proc/${pids[0]}/limits`)) ?? [];
  const openFilesLimit = limit === undefined ? undefined : BigInt(limit);
  return { threads, descriptors, sockets, states, openFilesLimit };
}

/** Of a thread; '' when it has ended. The name in front of it may have brackets and spaces. */
const stateLetter = (stat: string): string => stat.charAt(stat.lastIndexOf(')') + 2);

/** Names in a directory. Some at a time: a container may have a million descriptors, and others are served meanwhile. */
async function* namesIn(directory: string): AsyncGenerator<string> {
  try {
    for await (const { name } of await opendir(directory, { bufferSize: AT_ONCE })) yield name;
  } catch (thrown) {
    if (!isErrno(thrown, 'ENOENT', 'ESRCH')) throw thrown;
  }
}

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
