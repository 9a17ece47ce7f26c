import { constants, copyFileSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { Errno } from '../errors/errno.ts';
import { TsError } from '../errors/index.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import {
  changeMode,
  changeOwner,
  changeTimes,
  closeFd,
  type EntryStat,
  makeDirectory,
  makeHardLink,
  makeNode,
  makeSymlink,
  pathOfFd,
  readSymlink,
  statEntry,
} from '../linux/entry.ts';
import { getXattr, listXattrs, setXattr } from '../linux/xattr.ts';
import { isDirectory, isRegularFile, isSymlink } from './file-kind.ts';
import { openDirectory, sortedNames } from './tree-walk.ts';

/**
 * Copies all that is in the directory `from`, and its own attributes, to the existing directory
 * `to`: owners, modes, times, attributes, hard links, devices. File data is shared where the file
 * system can (reflink).
 */
export function copyTree(from: string, to: string): void {
  const fromFd = openSync(from, OpenFlag.O_DIRECTORY);
  const toFd = openSync(to, OpenFlag.O_DIRECTORY);
  try {
    const links = new Map<bigint, string>();
    copyDirectory(fromFd, toFd, '', toFd, links);
    const stat = statEntry(fromFd, '');
    if (typeof stat === 'number') throw TsError.ofErrno(-stat, `stat ${from}`);
    copyXattrs(fromFd, '', toFd, '');
    copyAttributes(toFd, '.', stat);
  } finally {
    closeFd(fromFd);
    closeFd(toFd);
  }
}

function copyDirectory(
  fromFd: number,
  toFd: number,
  prefix: string,
  rootFd: number,
  links: Map<bigint, string>,
): void {
  for (const name of sortedNames(fromFd)) {
    const path = `${prefix}${name.toString('latin1')}`;
    const stat = statEntry(fromFd, name);
    if (typeof stat === 'number') throw TsError.ofErrno(-stat, `stat ${path}`);
    if (isLinkedBefore(stat, links, path, rootFd, toFd, name)) continue;
    if (isDirectory(stat)) {
      check(makeDirectory(toFd, name, 0o700), path);
      const childFrom = openDirectory(fromFd, name, path);
      const childTo = openDirectory(toFd, name, path);
      try {
        copyDirectory(childFrom, childTo, `${path}/`, rootFd, links);
      } finally {
        closeFd(childFrom);
        closeFd(childTo);
      }
    } else copyLeaf(fromFd, toFd, name, stat, path);
    copyXattrsAfterOwner(fromFd, toFd, name, stat);
  }
}

/** Links to the first copy of a file that has several names. */
function isLinkedBefore(
  stat: EntryStat,
  links: Map<bigint, string>,
  path: string,
  rootFd: number,
  toFd: number,
  name: Buffer,
): boolean {
  if (stat.links < 2 || isDirectory(stat)) return false;
  const first = links.get(stat.inode);
  if (first === undefined) {
    links.set(stat.inode, path);
    return false;
  }
  // A path with several components is safe here: the tree is ours and nobody else writes it.
  check(makeHardLink(rootFd, Buffer.from(first, 'latin1'), toFd, name), path);
  return true;
}

function copyLeaf(fromFd: number, toFd: number, name: Buffer, stat: EntryStat, path: string): void {
  if (isRegularFile(stat)) {
    const source = Buffer.concat([Buffer.from(`${pathOfFd(fromFd)}/`), name]);
    const target = Buffer.concat([Buffer.from(`${pathOfFd(toFd)}/`), name]);
    copyFileSync(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  } else if (isSymlink(stat)) {
    check(makeSymlink(readSymlink(fromFd, name), toFd, name), path);
  } else {
    const device = { major: stat.deviceMajor, minor: stat.deviceMinor };
    check(makeNode(toFd, name, stat.mode, device), path);
  }
}

function copyXattrsAfterOwner(fromFd: number, toFd: number, name: Buffer, stat: EntryStat): void {
  // chown(2) clears file capabilities, so they are copied after it.
  changeOwner(toFd, name, stat.uid, stat.gid);
  copyXattrs(fromFd, name, toFd, name);
  copyAttributes(toFd, name, stat);
}

function copyAttributes(toFd: number, name: Buffer | string, stat: EntryStat): void {
  if (name === '.') changeOwner(toFd, name, stat.uid, stat.gid);
  if (!isSymlink(stat)) changeMode(toFd, name, stat.mode & 0o7777);
  changeTimes(toFd, name, stat.mtimeNs, stat.mtimeNs);
}

function copyXattrs(
  fromFd: number,
  from: Buffer | string,
  toFd: number,
  to: Buffer | string,
): void {
  for (const key of listXattrs(fromFd, from)) {
    const value = getXattr(fromFd, from, key);
    if (value === undefined) continue;
    const result = setXattr(toFd, to, key, value);
    if (result < 0 && result !== -Errno.EOPNOTSUPP) {
      throw TsError.ofErrno(-result, join('copy attribute', key));
    }
  }
}

function check(result: number, path: string): void {
  if (result < 0) throw TsError.ofErrno(-result, `copy ${path}`);
}
