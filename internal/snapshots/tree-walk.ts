import { readdirSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import { closeFd, type EntryStat, openEntry, pathOfFd, statEntry } from '../linux/entry.ts';
import { isDirectory } from './file-kind.ts';

/** An entry that a walk has found: its directory is open for the time of the call. */
export interface WalkedEntry {
  readonly dirFd: number;
  readonly name: Buffer;
  /** From the root of the walk, `/` between components, as a byte string. */
  readonly path: string;
  readonly stat: EntryStat;
}

const DIRECTORY = OpenFlag.O_RDONLY | OpenFlag.O_DIRECTORY;

/** Names in an open directory, in the order of their bytes. */
export function sortedNames(dirFd: number): Buffer[] {
  const names = readdirSync(pathOfFd(dirFd), { encoding: 'buffer' });
  return names.sort(Buffer.compare);
}

/** Opens a child directory without following links. */
export function openDirectory(dirFd: number, name: Buffer, path: string): number {
  const fd = openEntry(dirFd, name, DIRECTORY);
  if (fd < 0) throw TsError.ofErrno(-fd, `open directory ${path}`);
  return fd;
}

/** Visits everything below an open directory, a directory before what it holds. */
export function walkTree(dirFd: number, visit: (entry: WalkedEntry) => void, prefix = ''): void {
  for (const name of sortedNames(dirFd)) {
    const path = `${prefix}${name.toString('latin1')}`;
    const stat = statEntry(dirFd, name);
    if (typeof stat === 'number') continue; // removed while the tree is being walked
    visit({ dirFd, name, path, stat });
    if (!isDirectory(stat)) continue;
    const child = openDirectory(dirFd, name, path);
    try {
      walkTree(child, visit, `${path}/`);
    } finally {
      closeFd(child);
    }
  }
}
