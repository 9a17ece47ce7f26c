/**
 * Makes a layer of what one tree changes over another (image-spec layer.md).
 *
 * An overlay's upper directory holds the changes already; two mounted trees are walked side by side
 * in the order of names. Output is produced as it is read: nothing of a file is held.
 */
import { createHash } from 'node:crypto';
import { openSync, readSync, writeSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress } from 'node:zlib';
import { TsError } from '../errors/index.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import { closeFd, type EntryStat, openEntry, readSymlink, statEntry } from '../linux/entry.ts';
import { getXattr } from '../linux/xattr.ts';
import { isDirectory, isRegularFile, isWhiteout } from './file-kind.ts';
import type { Diffed, DiffJob, DiffSource } from './job.ts';
import { OPAQUE, WHITEOUT_PREFIX } from './layer-whiteouts.ts';
import { overlayMarks } from './overlay-marks.ts';
import { displayPath, type TarEntry } from './tar-entry.ts';
import { padding, tarEnd, tarHeader } from './tar-writer.ts';
import { type ComparedEntry, imageXattrs, isSameEntry } from './tree-compare.ts';
import { entryType } from './tree-entry.ts';
import { openDirectory, sortedNames } from './tree-walk.ts';

const CHUNK_BYTES = 256 * 1024;

/** Writes a layer to the job's descriptor and returns its digests. */
export async function writeDiff(job: DiffJob, checkCancelled: () => void): Promise<Diffed> {
  const diffId = createHash('sha256');
  const digest = createHash('sha256');
  let sizeBytes = 0;
  function* plain(): Generator<Buffer> {
    for (const chunk of new LayerWriter(job.maxTimeNs).chunks(job.source)) {
      checkCancelled();
      diffId.update(chunk);
      yield chunk;
    }
  }
  async function store(source: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of source) {
      digest.update(chunk);
      let written = 0;
      while (written < chunk.length) {
        written += writeSync(job.fd, chunk, written, chunk.length - written, sizeBytes + written);
      }
      sizeBytes += chunk.length;
    }
  }
  if (job.compression === 'gzip') await pipeline(plain, createGzip(), store);
  else if (job.compression === 'zstd') await pipeline(plain, createZstdCompress(), store);
  else await pipeline(plain, store);
  return {
    digest: `sha256:${digest.digest('hex')}`,
    sizeBytes,
    diffId: `sha256:${diffId.digest('hex')}`,
  };
}

class LayerWriter {
  readonly #maxTimeNs: bigint | undefined;
  /** First path of each file that has several names. */
  readonly #links = new Map<string, string>();
  /** Directories above the current entry whose headers are not written yet, outermost first. */
  readonly #parents: { entry: ComparedEntry; path: string }[] = [];

  constructor(maxTimeNs: bigint | undefined) {
    this.#maxTimeNs = maxTimeNs;
  }

  *chunks(source: DiffSource): Generator<Buffer> {
    const upperFd = openSync(source.upper, OpenFlag.O_DIRECTORY);
    try {
      if (source.kind === 'overlay') yield* this.#overlay(upperFd, '', source.hasUserXattrs);
      else if (source.lower === undefined) yield* this.#added(upperFd, '');
      else {
        const lowerFd = openSync(source.lower, OpenFlag.O_DIRECTORY);
        try {
          yield* this.#compared(lowerFd, upperFd, '');
        } finally {
          closeFd(lowerFd);
        }
      }
      yield tarEnd();
    } finally {
      closeFd(upperFd);
    }
  }

  *#overlay(dirFd: number, prefix: string, hasUserXattrs: boolean): Generator<Buffer> {
    const marks = overlayMarks(hasUserXattrs);
    const attribute = hasUserXattrs ? 'user.overlay' : 'trusted.overlay';
    for (const name of sortedNames(dirFd)) {
      const path = `${prefix}${name.toString('latin1')}`;
      const stat = statEntry(dirFd, name);
      if (typeof stat === 'number') continue; // removed meanwhile
      if (isWhiteout(stat)) {
        yield this.#whiteout(prefix, name);
        continue;
      }
      for (const key of [`${attribute}.redirect`, `${attribute}.metacopy`]) {
        if (getXattr(dirFd, name, key) === undefined) continue;
        // Only a mount of all layers shows what this file is: the caller compares mounts instead.
        throw new TsError('NotImplemented', `upper directory has ${key} on ${displayPath(path)}`, {
          code: 'TS_DIFF_NEEDS_MOUNTS',
        });
      }
      yield* this.#entry({ dirFd, name, stat }, path);
      if (!isDirectory(stat)) continue;
      if (marks.isOpaque(dirFd, name)) {
        yield this.#marker(`${path}/${OPAQUE}`);
      }
      yield* this.#inside(dirFd, name, path, (fd) => this.#overlay(fd, `${path}/`, hasUserXattrs));
    }
  }

  /** All of a directory that the other tree does not have. */
  *#added(dirFd: number, prefix: string): Generator<Buffer> {
    for (const name of sortedNames(dirFd)) {
      const path = `${prefix}${name.toString('latin1')}`;
      const stat = statEntry(dirFd, name);
      if (typeof stat === 'number') continue; // removed meanwhile
      yield* this.#entry({ dirFd, name, stat }, path);
      if (isDirectory(stat)) {
        yield* this.#inside(dirFd, name, path, (fd) => this.#added(fd, `${path}/`));
      }
    }
  }

  *#compared(lowerFd: number, upperFd: number, prefix: string): Generator<Buffer> {
    const lower = sortedNames(lowerFd);
    const upper = sortedNames(upperFd);
    let [l, u] = [0, 0];
    while (l < lower.length || u < upper.length) {
      const [left, right] = [lower[l], upper[u]];
      const order = left === undefined ? 1 : right === undefined ? -1 : Buffer.compare(left, right);
      if (order <= 0) l++;
      if (order >= 0) u++;
      if (order < 0 && left !== undefined) {
        yield* this.#pendingParents();
        yield this.#whiteout(prefix, left);
      } else if (right !== undefined) {
        yield* this.#comparedEntry(order === 0 ? lowerFd : -1, upperFd, right, prefix);
      }
    }
  }

  *#comparedEntry(
    lowerFd: number,
    upperFd: number,
    name: Buffer,
    prefix: string,
  ): Generator<Buffer> {
    const path = `${prefix}${name.toString('latin1')}`;
    const stat = statEntry(upperFd, name);
    if (typeof stat === 'number') return; // removed meanwhile
    const old = lowerFd === -1 ? -1 : statEntry(lowerFd, name);
    const entry = { dirFd: upperFd, name, stat };
    if (typeof old === 'number' || (isDirectory(stat) && !isDirectory(old))) {
      yield* this.#pendingParents();
      yield* this.#entry(entry, path);
      if (isDirectory(stat)) {
        yield* this.#inside(upperFd, name, path, (fd) => this.#added(fd, `${path}/`));
      }
      return;
    }
    const isSame = isSameEntry({ dirFd: lowerFd, name, stat: old }, entry);
    if (!isSame) {
      yield* this.#pendingParents();
      yield* this.#entry(entry, path);
    }
    if (!isDirectory(stat)) return;
    const depth = this.#parents.length;
    if (isSame) this.#parents.push({ entry, path });
    const lowerChild = openDirectory(lowerFd, name, path);
    try {
      yield* this.#inside(upperFd, name, path, (fd) => this.#compared(lowerChild, fd, `${path}/`));
    } finally {
      closeFd(lowerChild);
    }
    this.#parents.length = Math.min(depth, this.#parents.length);
  }

  /** A changed entry is preceded by the directories it is in, so that they keep owner and mode. */
  *#pendingParents(): Generator<Buffer> {
    for (const { entry, path } of this.#parents.splice(0)) yield* this.#entry(entry, path);
  }

  *#inside(
    dirFd: number,
    name: Buffer,
    path: string,
    body: (fd: number) => Generator<Buffer>,
  ): Generator<Buffer> {
    const fd = openDirectory(dirFd, name, path);
    try {
      yield* body(fd);
    } finally {
      closeFd(fd);
    }
  }

  #whiteout(prefix: string, name: Buffer): Buffer {
    return this.#marker(`${prefix}${WHITEOUT_PREFIX}${name.toString('latin1')}`);
  }

  /** An empty file whose name says it all. */
  #marker(path: string): Buffer {
    const mtimeNs = this.#maxTimeNs ?? 0n;
    return tarHeader({ ...EMPTY, type: 'file', path, mtimeNs });
  }

  *#entry({ dirFd, name, stat }: ComparedEntry, path: string): Generator<Buffer> {
    const type = entryType(stat);
    if (type === undefined) return; // a socket: nobody listens on it in another container
    const first = this.#firstName(stat, path);
    const isLink = first !== undefined;
    const dataBytes = isRegularFile(stat) && !isLink ? stat.sizeBytes : 0;
    const max = this.#maxTimeNs;
    const isSymbolic = type === 'symlink';
    yield tarHeader({
      type: isLink ? 'hard-link' : type,
      path,
      linkPath: first ?? (isSymbolic ? readSymlink(dirFd, name).toString('latin1') : ''),
      mode: stat.mode & 0o7777,
      uid: stat.uid,
      gid: stat.gid,
      dataBytes,
      sizeBytes: dataBytes,
      mtimeNs: max !== undefined && stat.mtimeNs > max ? max : stat.mtimeNs,
      devMajor: stat.deviceMajor,
      devMinor: stat.deviceMinor,
      xattrs: isLink ? new Map() : imageXattrs(dirFd, name),
      sparse: undefined,
    });
    if (dataBytes > 0) yield* fileData(dirFd, name, path, dataBytes);
  }

  /** The first name of a file that was written under another one already. */
  #firstName(stat: EntryStat, path: string): string | undefined {
    if (stat.links < 2 || isDirectory(stat)) return undefined;
    const identity = `${stat.fileSystemDevice}:${stat.inode}`;
    const first = this.#links.get(identity);
    if (first === undefined) this.#links.set(identity, path);
    return first;
  }
}

const EMPTY: TarEntry = {
  type: 'file',
  path: '',
  linkPath: '',
  mode: 0,
  uid: 0,
  gid: 0,
  dataBytes: 0,
  sizeBytes: 0,
  mtimeNs: 0n,
  devMajor: 0,
  devMinor: 0,
  xattrs: new Map(),
  sparse: undefined,
};

function* fileData(dirFd: number, name: Buffer, path: string, size: number): Generator<Buffer> {
  const fd = openEntry(dirFd, name, OpenFlag.O_RDONLY);
  if (fd < 0) throw TsError.ofErrno(-fd, `open ${displayPath(path)}`);
  try {
    let left = size;
    while (left > 0) {
      const chunk = Buffer.allocUnsafe(Math.min(left, CHUNK_BYTES));
      const length = readSync(fd, chunk);
      if (length === 0) {
        throw new TsError('Aborted', `read ${displayPath(path)}: it shrank while it was read`);
      }
      yield chunk.subarray(0, length);
      left -= length;
    }
    const rest = padding(size);
    if (rest.length > 0) yield rest;
  } finally {
    closeFd(fd);
  }
}
