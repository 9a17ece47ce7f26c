import { readSync } from 'node:fs';
import { OpenFlag } from '../linux/constants/file.ts';
import { closeFd, type EntryStat, openEntry, readSymlink } from '../linux/entry.ts';
import { getXattr, listXattrs } from '../linux/xattr.ts';
import { isDirectory, isRegularFile, isSymlink } from './file-kind.ts';
import { isOverlayXattr } from './overlay-marks.ts';

/** An entry of one of two trees. */
export interface ComparedEntry {
  readonly dirFd: number;
  readonly name: Buffer;
  readonly stat: EntryStat;
}

/**
 * Whether two entries of one name are the same: kind, mode, owner, device, attributes and, except
 * for directories, size, time and content. Content is read only when the times have no fraction of
 * a second, as those that come from an archive: others cannot be equal by chance.
 */
export function isSameEntry(a: ComparedEntry, b: ComparedEntry): boolean {
  const [left, right] = [a.stat, b.stat];
  const isSameFile = left.inode === right.inode && left.fileSystemDevice === right.fileSystemDevice;
  if (isSameFile && !isDirectory(left)) return true;
  const isSameMeta =
    left.mode === right.mode &&
    left.uid === right.uid &&
    left.gid === right.gid &&
    left.deviceMajor === right.deviceMajor &&
    left.deviceMinor === right.deviceMinor;
  if (!isSameMeta || !hasSameXattrs(a, b)) return false;
  if (isDirectory(left)) return true;
  if (isSymlink(left)) {
    return readSymlink(a.dirFd, a.name).equals(readSymlink(b.dirFd, b.name));
  }
  if (left.mtimeNs !== right.mtimeNs) return false;
  if (!isRegularFile(left)) return true;
  if (left.sizeBytes !== right.sizeBytes) return false;
  return left.mtimeNs % 1_000_000_000n !== 0n || hasSameContent(a, b);
}

function hasSameXattrs(a: ComparedEntry, b: ComparedEntry): boolean {
  const left = imageXattrs(a.dirFd, a.name);
  const right = imageXattrs(b.dirFd, b.name);
  if (left.size !== right.size) return false;
  for (const [key, value] of left) {
    if (right.get(key)?.equals(value) !== true) return false;
  }
  return true;
}

/** The attributes of a file that belong into an image: without overlayfs' own. */
export function imageXattrs(dirFd: number, name: Buffer): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (const key of listXattrs(dirFd, name)) {
    if (isOverlayXattr(key)) continue;
    const value = getXattr(dirFd, name, key);
    if (value !== undefined) xattrs.set(key, value);
  }
  return xattrs;
}

const CHUNK_BYTES = 64 * 1024;

function hasSameContent(a: ComparedEntry, b: ComparedEntry): boolean {
  const left = openEntry(a.dirFd, a.name, OpenFlag.O_RDONLY);
  const right = openEntry(b.dirFd, b.name, OpenFlag.O_RDONLY);
  try {
    if (left < 0 || right < 0) return false;
    const buffers = [Buffer.alloc(CHUNK_BYTES), Buffer.alloc(CHUNK_BYTES)] as const;
    for (;;) {
      const length = readSync(left, buffers[0]);
      if (readSync(right, buffers[1], 0, Math.max(length, 1), null) !== length) return false;
      if (length === 0) return true;
      if (buffers[0].compare(buffers[1], 0, length, 0, length) !== 0) return false;
    }
  } finally {
    if (left >= 0) closeFd(left);
    if (right >= 0) closeFd(right);
  }
}
