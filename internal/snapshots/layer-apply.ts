/**
 * Applies a layer to a snapshot's directory: the handler that a {@link TarReader} feeds.
 *
 * What an archive says is carried out by calls relative to open directories (layer-tree.ts), so
 * that a hostile one reaches nothing outside. Results are those of containerd's archive.Apply, but a
 * whiteout never removes what the same layer holds (image-spec layer.md, "Whiteouts": they apply to
 * lower layers only).
 */
import { ftruncateSync, writeSync } from 'node:fs';
import { Errno } from '../errors/errno.ts';
import { TsError } from '../errors/index.ts';
import { FileType, OpenFlag } from '../linux/constants/file.ts';
import {
  changeMode,
  changeModeOfFd,
  changeOwner,
  changeTimes,
  changeTimesOfFd,
  closeFd,
  type EntryStat,
  makeDirectory,
  makeHardLink,
  makeNode,
  makeSymlink,
  openEntry,
  statEntry,
} from '../linux/entry.ts';
import { setXattr } from '../linux/xattr.ts';
import { isDirectory, isSymlink, isWhiteout } from './file-kind.ts';
import { failed, LayerTree, type LayerTreeOptions, type Place, splitPath } from './layer-tree.ts';
import { OPAQUE, WHITEOUT_META_PREFIX, WHITEOUT_PREFIX, Whiteouts } from './layer-whiteouts.ts';
import { isOverlayXattr } from './overlay-marks.ts';
import { displayPath, type SparseRun, type TarEntry } from './tar-entry.ts';
import type { TarHandler } from './tar-reader.ts';

export interface LayerLimits {
  /** Most bytes of file data: more is a decompression bomb or does not fit the disk. */
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/** A file that is being written. */
interface OpenFile {
  readonly entry: TarEntry;
  readonly place: Place;
  readonly fd: number;
  /** Bytes of data taken so far. */
  taken: number;
  /** Index into the sparse runs, and how much of that run is written. */
  run: number;
  inRun: number;
}

export class LayerApplier implements TarHandler, Disposable {
  readonly #tree: LayerTree;
  readonly #limits: LayerLimits;
  readonly #whiteouts: Whiteouts;
  #file: OpenFile | undefined;
  #entries = 0;
  #bytes = 0;
  /** Times of directories, set last: writing into a directory changes them. */
  readonly #directoryTimes = new Map<string, bigint>();

  constructor(options: LayerTreeOptions, limits: LayerLimits) {
    this.#tree = new LayerTree(options);
    this.#limits = limits;
    this.#whiteouts = new Whiteouts(this.#tree);
  }

  entry(entry: TarEntry): void {
    if (++this.#entries > this.#limits.maxEntries) {
      throw new TsError('ResourceExhausted', `layer: more than ${this.#limits.maxEntries} entries`);
    }
    const parts = splitPath(entry.path);
    const base = parts.at(-1);
    // The root keeps the owner and mode it has: containerd ignores its entry, and an archive made
    // in a private directory (mode 0700) would lock every other user out of the container.
    if (base === undefined) return;
    if (base.startsWith(WHITEOUT_PREFIX)) {
      this.#whiteout(parts, base);
      return;
    }
    this.#make(entry, parts);
    this.#whiteouts.note(parts);
  }

  data(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#limits.maxBytes) {
      throw new TsError('ResourceExhausted', `layer: more than ${this.#limits.maxBytes} bytes`, {
        code: 'TS_LAYER_TOO_LARGE',
        advice: 'free space on the file system of the snapshots, or distrust the image',
      });
    }
    const file = this.#file;
    if (file === undefined) return;
    try {
      if (file.entry.sparse === undefined) writeAll(file.fd, chunk, file.taken);
      else this.#writeSparse(file, file.entry.sparse, chunk);
      file.taken += chunk.length;
    } catch (error) {
      throw TsError.from(error, `write ${displayPath(file.entry.path)}`);
    }
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    const { entry, place, fd } = file;
    try {
      if (entry.sparse !== undefined) ftruncateSync(fd, entry.sizeBytes); // it may end in a hole
      // Owner before mode and attributes: chown(2) clears set-id bits and file capabilities.
      changeOwner(place.dirFd, place.name, entry.uid, entry.gid);
      changeModeOfFd(fd, entry.mode, displayPath(entry.path));
      this.#setXattrs(entry, place);
      changeTimesOfFd(fd, entry.mtimeNs, entry.mtimeNs, displayPath(entry.path));
    } finally {
      closeFd(fd);
    }
  }

  /** Directories that the layer has no entry for. */
  get implied(): string[] {
    return [...this.#tree.implied];
  }

  /** Sets what could only be set after the last entry. */
  finish(): void {
    for (const [path, mtimeNs] of this.#directoryTimes) {
      const place = this.#tree.existingPlace(path.split('/'));
      if (place === undefined) continue;
      const stat = statEntry(place.dirFd, place.name);
      // A later entry may have replaced the directory; its own time is set already.
      if (typeof stat === 'object' && isDirectory(stat)) {
        changeTimes(place.dirFd, place.name, mtimeNs, mtimeNs);
      }
    }
  }

  close(): void {
    if (this.#file !== undefined) closeFd(this.#file.fd);
    this.#file = undefined;
    this.#tree.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #whiteout(parts: readonly string[], base: string): void {
    if (base === OPAQUE) this.#whiteouts.opaque(parts.slice(0, -1));
    else if (!base.startsWith(WHITEOUT_META_PREFIX)) {
      this.#whiteouts.remove(parts.slice(0, -1), base.slice(WHITEOUT_PREFIX.length));
    }
    // Other names with the meta prefix are AUFS' own bookkeeping and mean nothing here.
  }

  #make(entry: TarEntry, parts: readonly string[]): void {
    switch (entry.type) {
      case 'directory':
        this.#makeDirectory(entry, parts);
        return;
      case 'file':
        this.#openFile(entry, parts);
        return;
      case 'hard-link':
        this.#makeHardLink(entry, parts);
        return;
      case 'symlink':
        this.#makeSymlink(entry, parts);
        return;
      default:
        this.#makeNode(entry, parts);
    }
  }

  #makeSymlink(entry: TarEntry, parts: readonly string[]): void {
    const target = Buffer.from(entry.linkPath, 'latin1');
    const place = this.#replacing(entry, parts, ({ dirFd, name }) =>
      makeSymlink(target, dirFd, name),
    ).place;
    changeOwner(place.dirFd, place.name, entry.uid, entry.gid);
    this.#setXattrs(entry, place);
    changeTimes(place.dirFd, place.name, entry.mtimeNs, entry.mtimeNs);
  }

  #makeDirectory(entry: TarEntry, parts: readonly string[]): void {
    const before = this.#tree.place(parts);
    const present = statEntry(before.dirFd, before.name);
    const isThere = typeof present === 'object' && isDirectory(present);
    const place = isThere
      ? before
      : this.#replacing(entry, parts, ({ dirFd, name }) => makeDirectory(dirFd, name, 0o755)).place;
    const { dirFd, name } = place;
    // The layer deleted what was here and makes it anew: nothing of the old may shine through.
    const isHidden = typeof present === 'object' && isWhiteout(present);
    if (isHidden && this.#tree.isOverlay) this.#tree.marks.setOpaque(dirFd, name);
    changeOwner(dirFd, name, entry.uid, entry.gid);
    const fd = openEntry(dirFd, name, OpenFlag.O_RDONLY | OpenFlag.O_DIRECTORY);
    if (fd < 0) throw failed('open directory', entry.path, fd);
    try {
      changeModeOfFd(fd, entry.mode, displayPath(entry.path));
    } finally {
      closeFd(fd);
    }
    this.#setXattrs(entry, place);
    this.#tree.implied.delete(parts.join('/'));
    this.#directoryTimes.set(parts.join('/'), entry.mtimeNs);
  }

  #openFile(entry: TarEntry, parts: readonly string[]): void {
    const flags = OpenFlag.O_WRONLY | OpenFlag.O_CREAT | OpenFlag.O_EXCL;
    const { place, result } = this.#replacing(entry, parts, ({ dirFd, name }) =>
      openEntry(dirFd, name, flags, 0o600),
    );
    this.#file = { entry, place, fd: result, taken: 0, run: 0, inRun: 0 };
  }

  #makeHardLink(entry: TarEntry, parts: readonly string[]): void {
    const target = splitPath(entry.linkPath);
    const from = target.length === 0 ? undefined : this.#tree.existingPlace(target);
    const there = from === undefined ? undefined : statEntry(from.dirFd, from.name);
    if (typeof there !== 'object') {
      throw new TsError(
        'InvalidArgument',
        `link ${displayPath(entry.path)} to ${displayPath(entry.linkPath)}: not in the layer`,
      );
    }
    const here = this.#tree.place(parts);
    const present = statEntry(here.dirFd, here.name);
    const isItself = typeof present === 'object' && present.inode === there.inode;
    if (isItself) return; // to replace it would remove the file
    const { place } = this.#replacing(entry, parts, ({ dirFd, name }) => {
      const source = this.#tree.existingPlace(target);
      if (source === undefined) return -Errno.ENOENT; // it was inside of what has been replaced
      return makeHardLink(source.dirFd, source.name, dirFd, name);
    });
    this.#describeLinked(entry, place, there);
  }

  /** The last entry of a file with several names says what its attributes are, as in containerd. */
  #describeLinked(entry: TarEntry, place: Place, before: EntryStat): void {
    const { dirFd, name } = place;
    // Not when it changes nothing: chown(2) would clear file capabilities, which writers of archives
    // put on the first name only.
    const isChanged = entry.uid !== before.uid || entry.gid !== before.gid;
    if (isChanged) changeOwner(dirFd, name, entry.uid, entry.gid);
    if (!isSymlink(before)) changeMode(dirFd, name, entry.mode);
    this.#setXattrs(entry, place);
    changeTimes(dirFd, name, entry.mtimeNs, entry.mtimeNs);
  }

  #makeNode(entry: TarEntry, parts: readonly string[]): void {
    const type =
      entry.type === 'fifo'
        ? FileType.S_IFIFO
        : entry.type === 'block-device'
          ? FileType.S_IFBLK
          : FileType.S_IFCHR;
    const device = { major: entry.devMajor, minor: entry.devMinor };
    if (device.major > 0xfff || device.minor > 0xfffff) {
      throw new TsError(
        'InvalidArgument',
        `make node ${displayPath(entry.path)}: device ${device.major}:${device.minor}`,
      );
    }
    const { place } = this.#replacing(entry, parts, ({ dirFd, name }) =>
      makeNode(dirFd, name, type | 0o600, device),
    );
    changeOwner(place.dirFd, place.name, entry.uid, entry.gid);
    changeMode(place.dirFd, place.name, entry.mode);
    this.#setXattrs(entry, place);
    changeTimes(place.dirFd, place.name, entry.mtimeNs, entry.mtimeNs);
  }

  /** Makes something; what is in its way is removed first. */
  #replacing(
    entry: TarEntry,
    parts: readonly string[],
    make: (place: Place) => number,
  ): { place: Place; result: number } {
    let place = this.#tree.place(parts);
    let result = make(place);
    if (result === -Errno.EEXIST) {
      this.#tree.remove(place, entry.path);
      place = this.#tree.place(parts);
      result = make(place);
    }
    if (result < 0) throw failed(`make ${entry.type}`, entry.path, result);
    return { place, result };
  }

  /**
   * Sets the entry's attributes. Those of overlayfs are not the image's to set (an archive of a raw
   * upper directory has them); one that the file system does not support is left out, as containerd
   * does.
   */
  #setXattrs(entry: TarEntry, place: Place): void {
    for (const [key, value] of entry.xattrs) {
      if (isOverlayXattr(key)) continue;
      const result = setXattr(place.dirFd, place.name, key, value);
      if (result < 0 && result !== -Errno.EOPNOTSUPP) {
        throw failed(`set attribute ${displayPath(key)} of`, entry.path, result);
      }
    }
  }

  #writeSparse(file: OpenFile, runs: readonly SparseRun[], chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const run = runs[file.run];
      if (run === undefined) throw new TsError('InvalidArgument', 'sparse data beyond its map');
      const length = Math.min(chunk.length - at, run.length - file.inRun);
      writeAll(file.fd, chunk.subarray(at, at + length), run.offset + file.inRun);
      at += length;
      file.inRun += length;
      if (file.inRun === run.length) {
        file.run++;
        file.inRun = 0;
      }
    }
  }
}

function writeAll(fd: number, bytes: Buffer, position: number): void {
  let written = 0;
  while (written < bytes.length) {
    written += writeSync(fd, bytes, written, bytes.length - written, position + written);
  }
}
