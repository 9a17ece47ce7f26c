import { readdirSync, readFileSync } from 'node:fs';
import { Signal } from './constants/signal.ts';
import type { OwnedFd } from './fd.ts';
import { openPidfd, signalPidfd } from './pidfd.ts';

/** Looks at the tree, some 0.1 ms each, after which processes that do not stop, such as frozen ones, are killed as they are. */
const MAX_LOOKS = 200;

/**
 * Kills a process and its descendants by SIGKILL, those that it has let go excepted: whose parent has ended is a child of
 * another (man 2 prctl, PR_SET_CHILD_SUBREAPER). All are stopped before the first is killed, so that none is started or let
 * go meanwhile. False: there is no such process. `pid` must be a child of this process, which has not waited for it, so that
 * the number is not another's.
 */
export function killTree(pid: number): boolean {
  const tree = new Map<number, OwnedFd>();
  try {
    if (!stop(tree, pid)) return false;
    // A process stops a moment after its signal, and may fork until then: look until two looks in turn are the same.
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      const before = tree.size;
      const isStill = [...tree.keys()].every(isStopped);
      for (const parent of tree.keys()) {
        for (const child of childrenOf(parent)) {
          if (!tree.has(child)) stop(tree, child, parent);
        }
      }
      if (isStill && tree.size === before) break;
    }
    for (const pidfd of tree.values()) signalPidfd(pidfd, Signal.SIGKILL);
    return true;
  } finally {
    for (const pidfd of tree.values()) pidfd.close();
  }
}

/** Stops a process and notes it down, unless it has ended meanwhile, and its number may be another's. */
function stop(tree: Map<number, OwnedFd>, pid: number, parent?: number): boolean {
  const pidfd = openPidfd(pid);
  if (pidfd === undefined) return false;
  const isIt = parent === undefined || statOf(pid)?.parent === parent;
  if (isIt && signalPidfd(pidfd, Signal.SIGSTOP)) {
    tree.set(pid, pidfd);
    return true;
  }
  pidfd.close();
  return false;
}

/** Whether a process runs no more: stopped, traced or dead, or waiting in the kernel, from where it comes out stopped. */
function isStopped(pid: number): boolean {
  return 'TtZXD'.includes(statOf(pid)?.state ?? 'X');
}

/** man 5 proc, /proc/pid/stat; undefined when there is no such process. The name may have brackets and spaces. */
function statOf(pid: number): { state: string; parent: number } | undefined {
  const text = readOf(`/proc/${pid}/stat`);
  const [state = '', parent = ''] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return text === '' ? undefined : { state, parent: Number(parent) };
}

/** Of all its threads (man 5 proc, /proc/pid/task/tid/children). */
function childrenOf(pid: number): number[] {
  let threads: string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    return []; // it has ended
  }
  return threads
    .map((thread) => readOf(`/proc/${pid}/task/${thread}/children`))
    .flatMap((children) => children.split(' ').filter(Boolean).map(Number));
}

function readOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // the process has ended
  }
}
