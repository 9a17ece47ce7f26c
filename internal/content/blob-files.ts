import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';
import { isDigest, splitDigest } from '../oci/index.ts';
import type { Digest } from './content-store.ts';

/** Bytes of one read from disk. */
const BLOCK_BYTES = 256 * 1024;

/**
 * The files of the content store: `blobs/ALGORITHM/HEX` are whole and never change,
 * `ingest/DIRECTORY/data` are unfinished, `trash` is being deleted.
 */
export class BlobFiles {
  readonly #root: string;
  #trashed = 0;

  constructor(root: string) {
    this.#root = root;
    for (const part of ['blobs/sha256', 'blobs/sha512', 'ingest', 'trash']) {
      mkdirSync(join(root, part), { recursive: true, mode: 0o700 });
    }
  }

  blobPath(digest: Digest): string {
    const { algorithm, hex } = splitDigest(digest);
    return join(this.#root, 'blobs', algorithm, hex);
  }

  ingestPath(directory: string): string {
    return join(this.#root, 'ingest', directory, 'data');
  }

  has(digest: Digest): boolean {
    return existsSync(this.blobPath(digest));
  }

  async openBlob(digest: Digest): Promise<FileHandle> {
    try {
      return await open(this.blobPath(digest), 'r');
    } catch (error) {
      throw TsError.from(error, `read content ${digest}`);
    }
  }

  /** Opens an ingest's data for reading and writing, empty when it was not there. */
  async openIngest(directory: string): Promise<FileHandle> {
    await mkdir(join(this.#root, 'ingest', directory), { recursive: true, mode: 0o700 });
    const path = this.ingestPath(directory);
    try {
      return await open(path, 'r+');
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      return await open(path, 'wx+', 0o600);
    }
  }

  /**
   * Makes an ingest's data the blob `digest`: on disk, read-only, and whole from the moment that
   * its name exists. The directory is synced, so that the name survives a power cut too.
   */
  async publish(handle: FileHandle, directory: string, digest: Digest): Promise<void> {
    await handle.sync();
    await handle.chmod(0o444);
    renameSync(this.ingestPath(directory), this.blobPath(digest));
    const parent = await open(join(this.blobPath(digest), '..'), 'r');
    try {
      await parent.sync();
    } finally {
      await parent.close();
    }
  }

  async removeIngest(directory: string): Promise<void> {
    await rm(join(this.#root, 'ingest', directory), { recursive: true, force: true });
  }

  /**
   * Takes a blob's name away at once and returns what deletes the bytes: deleting a large file
   * takes long, and the name must not come back to life meanwhile.
   */
  unlinkBlob(digest: Digest): () => Promise<void> {
    const trash = join(this.#root, 'trash', `${process.pid}-${this.#trashed++}`);
    renameSync(this.blobPath(digest), trash);
    return () => rm(trash, { force: true });
  }

  /** Deletes what an earlier process did not get to delete. */
  async emptyTrash(): Promise<void> {
    const trash = join(this.#root, 'trash');
    for (const name of await readdir(trash)) await rm(join(trash, name), { force: true });
  }

  /** Digests of all blobs on disk. */
  async blobs(): Promise<Digest[]> {
    const found: Digest[] = [];
    for (const algorithm of ['sha256', 'sha512']) {
      for (const hex of await readdir(join(this.#root, 'blobs', algorithm))) {
        const digest = `${algorithm}:${hex}`;
        if (isDigest(digest)) found.push(digest);
      }
    }
    return found;
  }

  /** Directory names of all ingests on disk. */
  async ingests(): Promise<string[]> {
    return await readdir(join(this.#root, 'ingest'));
  }
}

/** Bytes of an open file from `offset` up to `end`; a file that ends before is DataLoss. */
export async function* readBlocks(
  handle: FileHandle,
  offset: number,
  end: number,
): AsyncGenerator<Buffer, void, undefined> {
  let position = offset;
  while (position < end) {
    const block = Buffer.allocUnsafeSlow(Math.min(BLOCK_BYTES, end - position));
    const { bytesRead } = await handle.read(block, 0, block.length, position);
    if (bytesRead === 0) {
      throw new TsError('DataLoss', `file ends at ${position}, expected ${end} bytes`);
    }
    position += bytesRead;
    yield block.subarray(0, bytesRead);
  }
}
