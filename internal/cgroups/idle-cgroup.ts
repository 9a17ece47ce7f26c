/** What the end of most containers needs of their cgroup: no more than to remove its directories. */
import { rmdirSync } from 'node:fs';
import { isErrno } from '../errors/index.ts';

/**
 * The hierarchy that is asked for processes on cgroup v1: one whose limits a process cannot slip out of. Undefined for a
 * container without cgroups.
 */
export function processDirectory(paths: Readonly<Record<string, string>>): string | undefined {
  const { freezer, devices, memory, pids } = paths;
  return freezer ?? devices ?? memory ?? pids ?? Object.values(paths)[0];
}

/**
 * Removes the cgroup with these `paths` if nothing is in it any more. False: it is still there, or a part of it, and what
 * {@link openCgroup} gives can kill, wait and tell what is wrong. As long as there are processes in it, nothing is removed.
 */
export function removeIdleCgroup(paths: Readonly<Record<string, string>>): boolean {
  const first = processDirectory(paths);
  if (first === undefined) return true;
  for (const directory of new Set([first, ...Object.values(paths)])) {
    try {
      rmdirSync(directory);
    } catch (thrown) {
      if (!isErrno(thrown, 'ENOENT')) return false;
    }
  }
  return true;
}
