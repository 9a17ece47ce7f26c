import { closeSync, constants, fstatSync, openSync, readSync, realpathSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { entry } from '../linux/index.ts';
import type { Process } from '../oci/index.ts';
import { isWithin } from './in-root.ts';
import type { PlannedMount } from './mount-plan.ts';

/** More of a passwd file is not read: an image may bring one of any size (CVE-2026-47262). */
export const GREATEST_PASSWD_BYTES = 1024 * 1024;

/**
 * The process with HOME in its environment, as runc and crun set it where the configuration does
 * not: the user's directory of the container's /etc/passwd, else `/`.
 */
export function withHome(
  process: Process,
  root: string,
  mounts: readonly PlannedMount[] = [],
): Process {
  if (hasHome(process)) return process;
  return processWithHome(process, readPasswd(passwdPlace(root, mounts)));
}

/** Whether the configuration says where home is. */
export function hasHome({ env = [] }: Process): boolean {
  return env.some((each) => each.startsWith('HOME='));
}

/** The process with the directory that a passwd file has for its user. */
export function processWithHome(process: Process, passwd: string): Process {
  const home = findHome(passwd, process.user.uid) ?? '/';
  return { ...process, env: [...(process.env ?? []), `HOME=${home}`] };
}

/** The sixth field of the user's line (man 5 passwd). */
export function findHome(passwd: string, uid: number): string | undefined {
  for (const line of passwd.split('\n')) {
    const [, , id, , , home] = line.split(':');
    if (id === String(uid) && home !== undefined && home !== '') return home;
  }
  return undefined;
}

/** A file below a root that is not to be left. */
export interface Place {
  readonly root: string;
  /** Below the root. */
  readonly path: string;
}

export const PASSWD = '/etc/passwd';

/** Where the host has what the container will see as /etc/passwd: engines bind one of their own. */
export function passwdPlace(rootfs: string, mounts: readonly PlannedMount[]): Place | undefined {
  const cover = mounts.findLast(({ destination }) => isWithin(PASSWD, destination));
  if (cover === undefined || cover.kind === 'remount' || cover.options.copiesUp) {
    return { root: rootfs, path: PASSWD };
  }
  if (cover.kind !== 'bind') return undefined; // of a new file system, which is empty
  if (cover.isDirectory)
    return { root: cover.source, path: PASSWD.slice(cover.destination.length) };
  const source = realpathSync(cover.source);
  return { root: dirname(source), path: basename(source) };
}

/** Inside the root whatever its symlinks say; a fifo or device there is nothing to read. */
function readPasswd(place: Place | undefined): string {
  if (place === undefined) return '';
  const { root, path } = place;
  const directory = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
    const fd = entry.openInRoot(directory, path, flags);
    if (fd < 0) return '';
    try {
      const stat = fstatSync(fd);
      if (!stat.isFile()) return '';
      const buffer = Buffer.alloc(Math.min(stat.size, GREATEST_PASSWD_BYTES));
      return buffer.toString('utf8', 0, readSync(fd, buffer, 0, buffer.length, 0));
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(directory);
  }
}
