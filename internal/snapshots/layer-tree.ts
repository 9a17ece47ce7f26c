/**
 * The directory tree that a layer is written into, addressed by paths from an archive.
 *
 * The attack (CVE-2021-32760, CVE-2018-15664 and their kin): an archive first makes a link that
 * points out of the tree and then an entry below it. Here no path is ever given to a call that
 * could leave the root: directories are opened by openat2(RESOLVE_IN_ROOT), where `..` and absolute
 * links stop at the root, and everything else is one component relative to such a descriptor, which
 * is not followed.
 *
 * Calls are synchronous: this runs in a worker thread (worker.ts).
 */
import { openSync, readdirSync } from 'node:fs';
import { Errno } from '../errors/errno.ts';
import { TsError } from '../errors/index.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import {
  changeModeOfFd,
  changeOwner,
  closeFd,
  type EntryStat,
  makeDirectory,
  openEntry,
  openInRoot,
  pathOfFd,
  readSymlink,
  removeEntry,
  statEntry,
} from '../linux/entry.ts';
import { NEEDS_LOWER } from './differ.ts';
import { isDirectory, isSymlink, isWhiteout } from './file-kind.ts';
import { type OverlayMarks, overlayMarks } from './overlay-marks.ts';
import { displayPath } from './tar-entry.ts';

const DIRECTORY = OpenFlag.O_PATH | OpenFlag.O_DIRECTORY;
/** Open directories that are kept; archives list a directory's entries one after another. */
const CACHE_SIZE = 64;
/** As the kernel: a path with more links is a loop (man 7 path_resolution). */
const MAX_LINKS = 40;

/** Where an entry goes: an open directory and one component. */
export interface Place {
  readonly dirFd: number;
  readonly name: Buffer;
}

export interface LayerTreeOptions {
  /** Directory of the snapshot that is written. */
  readonly root: string;
  /** `overlay`: `root` is the upper directory, deletions are marked; `plain`: they are done. */
  readonly kind: 'overlay' | 'plain';
  /** Lower directories of an overlay, top first. */
  readonly lowers: readonly string[];
  /** Whether overlay marks are `user.overlay.*` (in a user namespace). */
  readonly hasUserXattrs: boolean;
}

/** Splits an archive's path lexically; `..` stops at the root, as Go's path.Clean on `/path`. */
export function splitPath(path: string): string[] {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  return parts;
}

export class LayerTree implements Disposable {
  readonly rootFd: number;
  readonly isOverlay: boolean;
  readonly marks: OverlayMarks;
  /** Directories that were made since something is below them, without an entry of their own. */
  readonly implied = new Set<string>();
  readonly #lowerFds: number[] = [];
  readonly #directories = new Map<string, number>();

  /** Opens the root and the lower directories. */
  constructor(options: LayerTreeOptions) {
    this.isOverlay = options.kind === 'overlay';
    this.marks = overlayMarks(options.hasUserXattrs);
    this.rootFd = openSync(options.root, OpenFlag.O_DIRECTORY);
    try {
      for (const lower of options.lowers) {
        this.#lowerFds.push(openSync(lower, OpenFlag.O_DIRECTORY));
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The directory that holds `parts` and the last of them; missing directories are made. */
  place(parts: readonly string[]): Place {
    const name = Buffer.from(parts.at(-1) ?? '', 'latin1');
    return { dirFd: this.#directory(parts.slice(0, -1), true), name };
  }

  /** As {@link place}, but undefined when the directory is not there. */
  existingPlace(parts: readonly string[]): Place | undefined {
    const dirFd = this.#directory(parts.slice(0, -1), false);
    if (dirFd === -1) return undefined;
    return { dirFd, name: Buffer.from(parts.at(-1) ?? '', 'latin1') };
  }

  /**
   * Removes whatever is at `place`; nothing there is fine. All places got so far, this one too, are
   * closed: a directory that was removed must not be found again under its path.
   */
  remove(place: Place, path: string): void {
    const result = removeEntry(place.dirFd, place.name, false);
    if (result === -Errno.EISDIR || result === -Errno.EPERM) removeTree(place.dirFd, place.name);
    else if (result < 0 && result !== -Errno.ENOENT) throw failed('remove', path, result);
    this.forget();
  }

  /** Closes cached directories: paths may mean something else from now on. */
  forget(): void {
    for (const fd of this.#directories.values()) closeFd(fd);
    this.#directories.clear();
  }

  close(): void {
    this.forget();
    for (const fd of this.#lowerFds) closeFd(fd);
    closeFd(this.rootFd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #directory(parts: readonly string[], isMade: boolean): number {
    if (parts.length === 0) return this.rootFd;
    const path = parts.join('/');
    const cached = this.#directories.get(path);
    if (cached !== undefined) {
      // Youngest again: a descriptor that a caller has just got is not the next to be closed.
      this.#directories.delete(path);
      this.#directories.set(path, cached);
      return cached;
    }
    let fd = openInRoot(this.rootFd, Buffer.from(path, 'latin1'), DIRECTORY);
    const isMissing = fd === -Errno.ENOENT || (this.isOverlay && fd === -Errno.ENOTDIR);
    if (isMissing && !isMade) return -1;
    if (isMissing) fd = this.#make(parts);
    if (fd < 0) throw failed('open directory', path, fd);
    if (this.#directories.size >= CACHE_SIZE) this.#evict();
    this.#directories.set(path, fd);
    return fd;
  }

  #evict(): void {
    for (const [path, fd] of this.#directories) {
      closeFd(fd);
      this.#directories.delete(path);
      return; // a Map iterates in the order of insertion: the oldest
    }
  }

  /**
   * Makes the missing directories of a path and opens the last. What lower layers have there is
   * taken over: a directory's owner and mode, or where a link leads, so that the result is that of
   * extracting onto the merged tree.
   */
  #make(parts: readonly string[]): number {
    const todo = [...parts];
    const done: string[] = [];
    let links = 0;
    let fd = openInRoot(this.rootFd, '.', DIRECTORY);
    while (todo.length > 0) {
      const part = todo.shift() ?? '';
      const name = Buffer.from(part, 'latin1');
      const shown = [...done, part].join('/');
      const link = this.#makeOne(fd, name, done, shown);
      if (link === undefined) done.push(part);
      else {
        if (++links > MAX_LINKS) throw failed('open directory', shown, -Errno.ELOOP);
        const base = link.startsWith('/') ? [] : done;
        const target = splitPath([...base, link].join('/'));
        todo.unshift(...target);
        done.length = 0;
      }
      closeFd(fd);
      const path = done.length === 0 ? '.' : done.join('/');
      fd = openInRoot(this.rootFd, Buffer.from(path, 'latin1'), DIRECTORY);
      if (fd < 0) throw failed('open directory', path, fd);
    }
    return fd;
  }

  /** Makes sure that one component is a directory; returns a link's target instead if it is one. */
  #makeOne(
    dirFd: number,
    name: Buffer,
    parents: readonly string[],
    shown: string,
  ): string | undefined {
    const present = statEntry(dirFd, name);
    if (typeof present === 'object') {
      if (isDirectory(present)) return undefined;
      if (isSymlink(present)) return readSymlink(dirFd, name).toString('latin1');
      if (!this.isOverlay || !isWhiteout(present)) {
        throw failed('make directory', shown, -Errno.ENOTDIR);
      }
      // The layer deleted it and now puts something below it: an empty directory hides the old one.
      removeEntry(dirFd, name, false);
      this.#makeDirectory(dirFd, name, shown, undefined);
      this.marks.setOpaque(dirFd, name);
      return undefined;
    }
    if (present !== -Errno.ENOENT) throw failed('stat', shown, present);
    const lower = this.#lower([...parents, name.toString('latin1')]);
    if (lower !== undefined && isSymlink(lower.stat)) return lower.link;
    this.#makeDirectory(dirFd, name, shown, lower?.stat);
    this.implied.add(shown);
    return undefined;
  }

  /**
   * Gives implied directories of a layer that was unpacked without its lower ones what those have at
   * these paths. FailedPrecondition when they have a link there: the layer's files belong elsewhere.
   */
  adopt(implied: readonly string[]): void {
    for (const path of implied) {
      const parts = path.split('/');
      const lower = this.#lower(parts);
      if (lower !== undefined && isSymlink(lower.stat)) {
        throw new TsError('FailedPrecondition', `adopt ${displayPath(path)}: it is a link below`, {
          code: NEEDS_LOWER,
        });
      }
      const place = this.existingPlace(parts);
      if (place === undefined) continue;
      if (lower === undefined || !isDirectory(lower.stat)) {
        this.#inheritGroup(place);
        continue;
      }
      const fd = openEntry(place.dirFd, place.name, OpenFlag.O_RDONLY | OpenFlag.O_DIRECTORY);
      if (fd < 0) continue; // a later entry put something else there
      try {
        changeOwner(place.dirFd, place.name, lower.stat.uid, lower.stat.gid);
        changeModeOfFd(fd, lower.stat.mode & 0o7777, path);
      } finally {
        closeFd(fd);
      }
    }
  }

  /** What mkdir(2) does below a directory with the set-group-id bit, which came later here. */
  #inheritGroup({ dirFd, name }: Place): void {
    const parent = statEntry(dirFd, Buffer.from('.'));
    const isDirectoryThere = (stat: EntryStat | number): stat is EntryStat =>
      typeof stat === 'object' && isDirectory(stat);
    const own = statEntry(dirFd, name);
    if (!isDirectoryThere(parent) || !isDirectoryThere(own) || (parent.mode & 0o2000) === 0) return;
    changeOwner(dirFd, name, own.uid, parent.gid);
  }

  #makeDirectory(dirFd: number, name: Buffer, shown: string, like: EntryStat | undefined): void {
    const result = makeDirectory(dirFd, name, 0o755);
    if (result < 0) throw failed('make directory', shown, result);
    if (like !== undefined && isDirectory(like)) changeOwner(dirFd, name, like.uid, like.gid);
    const fd = openEntry(dirFd, name, OpenFlag.O_RDONLY | OpenFlag.O_DIRECTORY);
    if (fd < 0) throw failed('open directory', shown, fd);
    const isLike = like !== undefined && isDirectory(like);
    changeModeOfFd(fd, isLike ? like.mode & 0o7777 : 0o755, shown);
    closeFd(fd);
  }

  /** What the lower layers together have at a path without links in it. */
  #lower(parts: readonly string[]): { stat: EntryStat; link: string } | undefined {
    for (const lowerFd of this.#lowerFds) {
      const found = this.#inLower(lowerFd, parts);
      if (found === 'hidden') return undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #inLower(
    lowerFd: number,
    parts: readonly string[],
  ): { stat: EntryStat; link: string } | 'hidden' | undefined {
    let fd = openInRoot(lowerFd, '.', DIRECTORY);
    let isOpaque = false;
    try {
      for (const [index, part] of parts.entries()) {
        const name = Buffer.from(part, 'latin1');
        const stat = statEntry(fd, name);
        if (typeof stat === 'number') return isOpaque ? 'hidden' : undefined;
        if (index === parts.length - 1) {
          if (isWhiteout(stat)) return 'hidden';
          const link = isSymlink(stat) ? readSymlink(fd, name).toString('latin1') : '';
          return { stat, link };
        }
        if (!isDirectory(stat)) return 'hidden';
        isOpaque ||= this.marks.isOpaque(fd, name);
        const next = openEntry(fd, name, DIRECTORY);
        closeFd(fd);
        fd = next;
        if (fd < 0) throw failed('open directory', parts.join('/'), fd);
      }
      return undefined;
    } finally {
      if (fd >= 0) closeFd(fd);
    }
  }
}

/** Removes a directory with all in it, never leaving it through a link. */
export function removeTree(dirFd: number, name: Buffer | string): void {
  const fd = openEntry(dirFd, name, OpenFlag.O_RDONLY | OpenFlag.O_DIRECTORY);
  if (fd === -Errno.ENOENT) return;
  if (fd < 0) throw failed('open directory', name.toString('latin1'), fd);
  try {
    for (const child of readdirSync(pathOfFd(fd), { encoding: 'buffer' })) {
      const result = removeEntry(fd, child, false);
      if (result === -Errno.EISDIR || result === -Errno.EPERM) removeTree(fd, child);
      else if (result < 0 && result !== -Errno.ENOENT) {
        throw failed('remove', child.toString('latin1'), result);
      }
    }
  } finally {
    closeFd(fd);
  }
  const result = removeEntry(dirFd, name, true);
  if (result < 0 && result !== -Errno.ENOENT)
    throw failed('remove', name.toString('latin1'), result);
}

/** The error of a negated errno at a path of an archive. */
export function failed(operation: string, path: string, result: number): TsError {
  const shown = displayPath(path);
  return TsError.ofErrno(-result, `${operation} ${shown}`, { path: shown });
}
