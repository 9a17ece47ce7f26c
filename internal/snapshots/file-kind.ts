import { FileType } from '../linux/constants/file.ts';
import type { EntryStat } from '../linux/entry.ts';

const S_IFMT = 0o170000;

export function isDirectory(stat: EntryStat): boolean {
  return (stat.mode & S_IFMT) === FileType.S_IFDIR;
}

export function isSymlink(stat: EntryStat): boolean {
  return (stat.mode & S_IFMT) === FileType.S_IFLNK;
}

export function isRegularFile(stat: EntryStat): boolean {
  return (stat.mode & S_IFMT) === FileType.S_IFREG;
}

/** Overlayfs' mark for "deleted": a character device 0:0 (kernel overlayfs.rst, "whiteouts"). */
export function isWhiteout(stat: EntryStat): boolean {
  const isCharacterDevice = (stat.mode & S_IFMT) === FileType.S_IFCHR;
  return isCharacterDevice && stat.deviceMajor === 0 && stat.deviceMinor === 0;
}

/** The type bits of a mode. */
export function typeOf(stat: EntryStat): number {
  return stat.mode & S_IFMT;
}
