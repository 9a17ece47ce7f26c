import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { nowNs } from '../api/time.ts';
import { isErrno, TsError } from '../errors/index.ts';
import { checkLabels } from '../metadata/labels.ts';
import type { Labels, TimeNs } from '../metadata/scope.ts';
import { splitDigest } from '../oci/index.ts';
import { type BlobFiles, readBlocks } from './blob-files.ts';
import type { ContentWriter, Digest, IngestStatus } from './content-store.ts';

/** What the store does for a writer. */
export interface WriterHost {
  /** Records the blob in the namespace, after `publish` put it on disk if it was not there. */
  commit(
    digest: Digest,
    sizeBytes: number,
    labels: Labels,
    publish: () => Promise<void>,
  ): Promise<void>;
  /** Forgets the ingest. */
  discard(): Promise<void>;
  /** Lets the next writer have the ref. */
  release(): void;
}

export interface WriterState {
  readonly ref: string;
  readonly directory: string;
  readonly startedAt: TimeNs;
  readonly totalBytes: number;
  readonly expected: Digest | '';
  /** A blob of another namespace that has the expected digest: nothing need be written. */
  readonly shared: { readonly digest: Digest; readonly sizeBytes: number } | undefined;
}

/** An open ingest: a file that is appended to, and the hash of all that is in it. */
export class LocalWriter implements ContentWriter {
  readonly #files: BlobFiles;
  readonly #host: WriterHost;
  readonly #state: WriterState;
  #algorithm: 'sha256' | 'sha512';
  #shared: WriterState['shared'];
  #handle: FileHandle | undefined;
  #hash: Hash;
  #offset = 0;
  #updatedAt: TimeNs = nowNs();
  #isClosed = false;

  private constructor(files: BlobFiles, host: WriterHost, state: WriterState) {
    this.#files = files;
    this.#host = host;
    this.#state = state;
    this.#shared = state.shared;
    this.#algorithm = state.expected === '' ? 'sha256' : splitDigest(state.expected).algorithm;
    this.#hash = createHash(this.#algorithm);
  }

  /** Opens the ingest; what an earlier writer left is hashed again, since a hash's state is not
   * kept on disk. */
  static async open(files: BlobFiles, host: WriterHost, state: WriterState): Promise<LocalWriter> {
    const writer = new LocalWriter(files, host, state);
    if (state.shared !== undefined) {
      writer.#offset = state.shared.sizeBytes;
      return writer;
    }
    try {
      writer.#handle = await files.openIngest(state.directory);
      const { size } = await writer.#handle.stat();
      await writer.#rehash(size);
      return writer;
    } catch (error) {
      await writer.#handle?.close();
      throw TsError.from(error, `open ingest ${state.ref}`);
    }
  }

  get status(): IngestStatus {
    return {
      ref: this.#state.ref,
      offsetBytes: this.#offset,
      totalBytes: this.#shared?.sizeBytes ?? this.#state.totalBytes,
      expected: this.#state.expected,
      startedAt: this.#state.startedAt,
      updatedAt: this.#updatedAt,
    };
  }

  async write(data: Uint8Array): Promise<void> {
    const handle = await this.#open();
    try {
      for (let written = 0; written < data.length; ) {
        const rest = data.length - written;
        const position = this.#offset + written;
        written += (await handle.write(data, written, rest, position)).bytesWritten;
      }
    } catch (error) {
      if (isErrno(error, 'ENOSPC', 'EDQUOT')) throw this.#diskFull(error);
      throw TsError.from(error, `write ingest ${this.#state.ref}`);
    }
    this.#hash.update(data);
    this.#offset += data.length;
    this.#updatedAt = nowNs();
  }

  async truncate(offset: number): Promise<void> {
    if (offset > this.#offset) {
      throw new TsError(
        'OutOfRange',
        `truncate ingest ${this.#state.ref} to ${offset}: it has ${this.#offset} bytes`,
      );
    }
    const handle = await this.#open();
    await handle.truncate(offset);
    await this.#rehash(offset);
    this.#updatedAt = nowNs();
  }

  digest(): Digest {
    if (this.#shared !== undefined) return this.#shared.digest;
    return `${this.#algorithm}:${this.#hash.copy().digest('hex')}`;
  }

  async commit(sizeBytes: number, expected: Digest | undefined, labels: Labels): Promise<Digest> {
    const { ref } = this.#state;
    checkLabels('content.Labels', labels);
    this.#assertOpen();
    if (sizeBytes !== 0 && sizeBytes !== this.#offset) {
      throw new TsError(
        'FailedPrecondition',
        `"${ref}" failed size validation: ${this.#offset} != ${sizeBytes}: failed precondition`,
        { code: 'TS_CONTENT_SIZE_MISMATCH' },
      );
    }
    await this.#hashAs(expected);
    const digest = this.digest();
    if (expected !== undefined && digest !== expected) {
      // These bytes will never have that digest: a resumed download must not begin behind them.
      await this.#end(() => this.#host.discard());
      throw new TsError(
        'FailedPrecondition',
        `"${ref}": unexpected commit digest ${digest}, expected ${expected}: failed precondition`,
        { code: 'TS_CONTENT_DIGEST_MISMATCH' },
      );
    }
    await this.#end(() =>
      this.#host.commit(digest, this.#offset, labels, async () => {
        const handle = await this.#open();
        await this.#files.publish(handle, this.#state.directory, digest);
      }),
    );
    return digest;
  }

  async close(): Promise<void> {
    await this.#end(async () => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Runs the last action of the writer and releases everything whether it succeeds or not. */
  async #end(action: () => Promise<void>): Promise<void> {
    if (this.#isClosed) return;
    try {
      await action();
    } finally {
      this.#isClosed = true;
      await this.#handle?.close();
      this.#handle = undefined;
      this.#host.release();
    }
  }

  #diskFull(error: unknown): TsError {
    const { kind, message, fields } = TsError.from(error, `write ingest ${this.#state.ref}`);
    const advice = 'free disk space';
    return new TsError(kind, message, {
      code: 'TS_CONTENT_DISK_FULL',
      cause: error,
      fields,
      advice,
    });
  }

  #assertOpen(): void {
    if (this.#isClosed) {
      throw new TsError('FailedPrecondition', `write ingest ${this.#state.ref}: it is closed`);
    }
  }

  /** The data file. A writer of a shared blob that writes after all gets a copy of that blob. */
  async #open(): Promise<FileHandle> {
    this.#assertOpen();
    if (this.#handle !== undefined) return this.#handle;
    const shared = this.#shared;
    this.#handle = await this.#files.openIngest(this.#state.directory);
    this.#shared = undefined;
    await this.#handle.truncate(0);
    this.#offset = 0;
    if (shared !== undefined) {
      await using blob = await this.#files.openBlob(shared.digest);
      for await (const block of readBlocks(blob, 0, shared.sizeBytes)) await this.write(block);
    }
    return this.#handle;
  }

  async #rehash(size: number): Promise<void> {
    this.#hash = createHash(this.#algorithm);
    if (this.#handle !== undefined) {
      for await (const block of readBlocks(this.#handle, 0, size)) this.#hash.update(block);
    }
    this.#offset = size;
  }

  /** A writer opened without an expected digest hashed with sha256; a commit may want sha512. */
  async #hashAs(expected: Digest | undefined): Promise<void> {
    if (expected === undefined || this.#shared !== undefined) return;
    const { algorithm } = splitDigest(expected);
    if (algorithm === this.#algorithm || this.#handle === undefined) return;
    this.#algorithm = algorithm;
    await this.#rehash(this.#offset);
  }
}
