/** What the worker threads do with subvolumes of btrfs: one per snapshot, `DIRECTORY/ID`. */
import { openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { Errno } from '../errors/errno.ts';
import { TsError } from '../errors/index.ts';
import {
  createSubvolume,
  destroySubvolume,
  isSubvolumeRoot,
  setSubvolumeReadOnly,
  snapshotSubvolume,
  subvolumeId,
} from '../linux/btrfs.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import { closeFd, statEntry } from '../linux/entry.ts';
import { isDirectory } from './file-kind.ts';
import type { SubvolumeJob } from './job.ts';
import { openDirectory, sortedNames } from './tree-walk.ts';

const DIRECTORY = OpenFlag.O_RDONLY | OpenFlag.O_DIRECTORY;

/** Does what the job says to the subvolume `path`; returns its number for the mount option. */
export function changeSubvolume({ path, action, source, isReadOnly }: SubvolumeJob): bigint {
  const dirFd = openSync(dirname(path), DIRECTORY);
  try {
    const name = Buffer.from(basename(path));
    if (action === 'remove') {
      remove(dirFd, name, path);
      return 0n;
    }
    if (action === 'create') create(dirFd, name, source, isReadOnly);
    const fd = openDirectory(dirFd, name, path);
    try {
      setSubvolumeReadOnly(fd, isReadOnly);
      return subvolumeId(fd);
    } finally {
      closeFd(fd);
    }
  } finally {
    closeFd(dirFd);
  }
}

function create(
  dirFd: number,
  name: Buffer,
  source: string | undefined,
  isReadOnly: boolean,
): void {
  if (source === undefined) {
    createSubvolume(dirFd, name);
    return;
  }
  const sourceFd = openSync(source, DIRECTORY);
  try {
    snapshotSubvolume(sourceFd, dirFd, name, isReadOnly);
  } finally {
    closeFd(sourceFd);
  }
}

/** Deletes a subvolume, and first those that somebody made in it: the kernel refuses it before. */
function remove(dirFd: number, name: Buffer, path: string): void {
  let result = destroySubvolume(dirFd, name);
  if (result === -Errno.ENOENT) return; // it was never made
  if (result === -Errno.ENOTEMPTY) {
    const fd = openDirectory(dirFd, name, path);
    try {
      setSubvolumeReadOnly(fd, false); // in a read-only one nothing can be deleted
      removeNested(fd, path);
    } finally {
      closeFd(fd);
    }
    result = destroySubvolume(dirFd, name);
  }
  if (result < 0) throw TsError.ofErrno(-result, `remove subvolume ${path}`);
}

function removeNested(dirFd: number, prefix: string): void {
  for (const name of sortedNames(dirFd)) {
    const stat = statEntry(dirFd, name);
    if (typeof stat === 'number' || !isDirectory(stat)) continue;
    const path = `${prefix}/${name.toString()}`;
    if (isSubvolumeRoot(stat.inode)) {
      remove(dirFd, name, path);
      continue;
    }
    const child = openDirectory(dirFd, name, path);
    try {
      removeNested(child, path);
    } finally {
      closeFd(child);
    }
  }
}
