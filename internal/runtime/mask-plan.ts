import { lstatSync } from 'node:fs';
import { isWithin, normalizePath } from './in-root.ts';
import type { PlannedMount } from './mount-plan.ts';

/** A path to hide, and what it is, where that is known beforehand. */
export interface MaskedPath {
  readonly path: string;
  readonly kind: 'file' | 'directory' | 'unknown';
}

/**
 * Finds out what the masked paths are. In procfs and sysfs everything but the directories of
 * processes and networks is the same in all containers, and so as the host has it; if it is not, the
 * mask fails. Whatever the host does not have is looked for in the container all the same.
 */
export function planMasks(paths: readonly string[], mounts: readonly PlannedMount[]): MaskedPath[] {
  return paths.map(normalizePath).map((path) => ({ path, kind: kindOf(path, mounts) }));
}

const SAME_EVERYWHERE = new Set(['proc', 'sysfs']);

function kindOf(path: string, mounts: readonly PlannedMount[]): MaskedPath['kind'] {
  const below = mounts.findLast(({ destination }) => isWithin(path, destination));
  const isOnKernelFiles =
    below?.kind === 'file system' &&
    SAME_EVERYWHERE.has(below.mount.type ?? '') &&
    below.destination === (below.mount.type === 'proc' ? '/proc' : '/sys');
  if (!isOnKernelFiles || /^\/proc\/([0-9]+|self|thread-self|net)(\/|$)/.test(path))
    return 'unknown';
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) return 'directory';
  return stat?.isFile() === true ? 'file' : 'unknown';
}
