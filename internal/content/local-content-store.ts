import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { packAny } from '../api/any.ts';
import { ContentCreate, ContentDelete } from '../api/generated/containerd.events.ts';
import { nowNs } from '../api/time.ts';
import { isErrno, TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import type { Cleaner, GarbageCollector } from '../gc/garbage-collector.ts';
import type { Database } from '../metadata/database.ts';
import { compileFilters } from '../metadata/filters.ts';
import { addToLease, removeFromLease } from '../metadata/lease-resources.ts';
import { ensureNamespace } from '../metadata/namespace-store.ts';
import type { Labels, Scope } from '../metadata/scope.ts';
import { parseDigest } from '../oci/index.ts';
import { BlobFiles, readBlocks } from './blob-files.ts';
import { ContentRecords, contentNotFound, type IngestRow } from './content-records.ts';
import type {
  ContentInfo,
  ContentStore,
  ContentWriter,
  Digest,
  IngestStatus,
  WriterOptions,
} from './content-store.ts';
import { LocalWriter, type WriterHost, type WriterState } from './local-writer.ts';
import { OpenBlobs } from './open-blobs.ts';

/** After this an ingest that no lease holds is collected. */
const INGEST_LIFETIME_NS = 24n * 3600n * 1_000_000_000n;

/** What keeps others from an ingest. */
interface Lock {
  readonly openedAtMs: number;
  /** Name of the ingest's directory, known before the writer is. */
  directory?: string;
  writer?: LocalWriter;
}

export interface LocalContentStoreOptions {
  /** Whether a namespace gets a blob that another one has without its bytes being sent. */
  readonly isShared: boolean;
}

/** Blobs in files, what namespaces know of them in the metadata database. */
export class LocalContentStore implements ContentStore, Cleaner {
  readonly name = 'content';
  readonly #database: Database;
  readonly #events: EventExchange;
  readonly #gc: Pick<GarbageCollector, 'schedule'>;
  readonly #files: BlobFiles;
  readonly #open: OpenBlobs;
  readonly #records: ContentRecords;
  readonly #options: LocalContentStoreOptions;
  /** Open writers by namespace and ref, with the time they were opened. */
  readonly #locks = new Map<string, Lock>();
  /** Blobs that a writer is about to record: not to be cleaned although no record names them. */
  readonly #pins = new Map<Digest, number>();

  constructor(
    root: string,
    database: Database,
    events: EventExchange,
    gc: Pick<GarbageCollector, 'schedule'>,
    options: LocalContentStoreOptions = { isShared: true },
  ) {
    const files = new BlobFiles(root);
    this.#files = files;
    this.#open = new OpenBlobs((digest) => files.openBlob(digest));
    this.#records = new ContentRecords(database);
    this.#database = database;
    this.#events = events;
    this.#gc = gc;
    this.#options = options;
  }

  info(scope: Scope, digest: string): ContentInfo {
    return this.#records.get(scope, digest);
  }

  update(scope: Scope, digest: string, labels: Labels, fieldPaths: readonly string[]): ContentInfo {
    const info = this.#records.updateLabels(scope, digest, labels, fieldPaths);
    this.#gc.schedule();
    return info;
  }

  list(scope: Scope, filters?: readonly string[]): ContentInfo[] {
    return this.#records.list(scope, filters);
  }

  async delete(scope: Scope, digest: string): Promise<void> {
    if (!this.#records.delete(scope, digest)) throw contentNotFound(digest);
    this.#events.publish(scope, '/content/delete', packAny(ContentDelete, { digest }));
    this.#gc.schedule();
  }

  async open(scope: Scope, digest: string): Promise<FileHandle> {
    return await this.#files.openBlob(this.info(scope, digest).digest);
  }

  async *read(
    scope: Scope,
    digest: string,
    offset = 0,
    sizeBytes?: number,
  ): AsyncGenerator<Buffer, void, undefined> {
    const info = this.info(scope, digest);
    const end = Math.min(info.sizeBytes, sizeBytes === undefined ? Infinity : offset + sizeBytes);
    using blob = await this.#open.acquire(info.digest);
    yield* readBlocks(blob.handle, offset, end);
  }

  async readAll(scope: Scope, digest: string, limitBytes: number): Promise<Buffer> {
    const { sizeBytes } = this.info(scope, digest);
    if (sizeBytes > limitBytes) {
      throw new TsError(
        'ResourceExhausted',
        `read content ${digest}: it has ${sizeBytes} bytes, at most ${limitBytes} are accepted`,
        { code: 'TS_CONTENT_TOO_LARGE' },
      );
    }
    const blocks: Buffer[] = [];
    for await (const block of this.read(scope, digest)) blocks.push(block);
    return Buffer.concat(blocks);
  }

  async writer(scope: Scope, options: WriterOptions): Promise<ContentWriter> {
    const { ref, expected } = options;
    if (ref === '') throw new TsError('InvalidArgument', 'ref is required: invalid argument');
    if (expected !== undefined) parseDigest(expected, `ingest ${ref}`);
    const lock = this.#lock(scope, ref);
    try {
      const state = this.#begin(scope, options);
      if (state === undefined) {
        throw new TsError('AlreadyExists', `content ${expected}: already exists`);
      }
      if (state.shared !== undefined) this.#pin(state.shared.digest);
      lock.directory = state.directory; // `clean` may come while the file is being opened
      lock.writer = await LocalWriter.open(this.#files, this.#hostOf(scope, state), state);
      return lock.writer;
    } catch (error) {
      this.#unlock(scope, ref);
      throw error;
    }
  }

  status(scope: Scope, ref: string): IngestStatus {
    const row = this.#records.findIngest(scope, ref);
    if (row === undefined) throw new TsError('NotFound', `reference ${ref}: not found`);
    return this.#statusOf(scope, row);
  }

  listStatuses(scope: Scope, filters?: readonly string[]): IngestStatus[] {
    const matches = compileFilters(filters);
    return this.#records
      .listIngests(scope)
      .filter(({ ref }) => matches((path) => (path[0] === 'ref' ? ref : undefined)))
      .map((row) => this.#statusOf(scope, row));
  }

  async abort(scope: Scope, ref: string): Promise<void> {
    const row = this.#records.findIngest(scope, ref);
    if (row === undefined) throw new TsError('NotFound', `reference ${ref}: not found`);
    this.#lock(scope, ref);
    try {
      await this.#discard(scope, row);
    } finally {
      this.#unlock(scope, ref);
    }
  }

  /** Removes blobs and ingests that no record names. */
  async clean(): Promise<void> {
    await this.#files.emptyTrash();
    const blobs = await this.#files.blobs();
    // Records that were deleted must stay so after a power cut, or they would name nothing. Those
    // that are deleted from here on are for the next run.
    const unnamed = blobs.filter((digest) => this.#isUnnamed(digest));
    await this.#database.sync();
    for (const digest of unnamed) {
      if (!this.#isUnnamed(digest)) continue;
      this.#open.forget(digest);
      await this.#files.unlinkBlob(digest)();
    }
    for (const directory of await this.#files.ingests()) {
      if (this.#records.hasIngestDirectory(directory) || this.#isOpen(directory)) continue;
      await this.#files.removeIngest(directory);
    }
  }

  /** Closes files that are kept open for readers. */
  close(): void {
    this.#open.close();
  }

  /** Open writers, a line each. */
  waits(): string[] {
    return [...this.#locks].map(([key, { openedAtMs }]) => {
      return `ingest ${key} for ${Math.round(performance.now() - openedAtMs)} ms`;
    });
  }

  /** Records the ingest and its lease; undefined when the namespace has the blob already, which
   * the lease then keeps. */
  #begin(scope: Scope, options: WriterOptions): WriterState | undefined {
    const { ref, expected, totalBytes = 0 } = options;
    return this.#database.transaction(() => {
      if (expected !== undefined && this.#records.find(scope, expected) !== undefined) {
        addToLease(this.#database, scope, 'content', expected);
        return undefined;
      }
      ensureNamespace(this.#database, scope.namespace);
      const isLeased = addToLease(this.#database, scope, 'ingests', ref);
      const known = this.#records.findIngest(scope, ref);
      const now = nowNs();
      const row: IngestRow = {
        ref,
        directory: known?.directory ?? randomBytes(12).toString('hex'),
        expected: expected ?? known?.expected ?? '',
        total: totalBytes > 0 ? BigInt(totalBytes) : (known?.total ?? 0n),
        started_at: known?.started_at ?? now,
      };
      this.#records.saveIngest(scope, row, isLeased ? 0n : now + INGEST_LIFETIME_NS);
      return {
        ref,
        directory: row.directory,
        startedAt: row.started_at,
        totalBytes: Number(row.total),
        expected: row.expected,
        shared: this.#sharedBlob(expected, totalBytes),
      };
    });
  }

  #sharedBlob(expected: Digest | undefined, totalBytes: number): WriterState['shared'] {
    if (!this.#options.isShared || expected === undefined) return undefined;
    const sizeBytes = this.#records.sizeAnywhere(expected);
    if (sizeBytes === undefined || (totalBytes !== 0 && totalBytes !== sizeBytes)) return undefined;
    return this.#files.has(expected) ? { digest: expected, sizeBytes } : undefined;
  }

  #hostOf(scope: Scope, state: WriterState): WriterHost {
    const { ref } = state;
    return {
      commit: (digest, sizeBytes, labels, publish) =>
        this.#commit(scope, state, digest, sizeBytes, labels, publish),
      discard: () => this.#discard(scope, { ref, directory: state.directory }),
      release: () => {
        if (state.shared !== undefined) this.#unpin(state.shared.digest);
        this.#unlock(scope, ref);
      },
    };
  }

  async #commit(
    scope: Scope,
    state: WriterState,
    digest: Digest,
    sizeBytes: number,
    labels: Labels,
    publish: () => Promise<void>,
  ): Promise<void> {
    this.#pin(digest);
    let isNew: boolean;
    try {
      if (!this.#files.has(digest)) await publish();
      isNew = this.#database.transaction(() => {
        // The namespace may have been deleted since the ingest began: an ingest does not hold it.
        ensureNamespace(this.#database, scope.namespace);
        const exists = this.#records.find(scope, digest) !== undefined;
        if (!exists) this.#records.insert(scope, digest, sizeBytes, labels);
        this.#records.deleteIngest(scope, state.ref);
        removeFromLease(this.#database, scope, 'ingests', state.ref);
        addToLease(this.#database, scope, 'content', digest);
        return !exists;
      });
    } finally {
      this.#unpin(digest);
    }
    await this.#files.removeIngest(state.directory);
    if (!isNew) throw new TsError('AlreadyExists', `content ${digest}: already exists`);
    const size = BigInt(sizeBytes);
    this.#events.publish(scope, '/content/create', packAny(ContentCreate, { digest, size }));
  }

  async #discard(scope: Scope, ingest: Pick<IngestRow, 'ref' | 'directory'>): Promise<void> {
    this.#database.transaction(() => {
      this.#records.deleteIngest(scope, ingest.ref);
      removeFromLease(this.#database, scope, 'ingests', ingest.ref);
    });
    await this.#files.removeIngest(ingest.directory);
  }

  #statusOf(scope: Scope, row: IngestRow): IngestStatus {
    const writer = this.#locks.get(lockKey(scope, row.ref))?.writer;
    if (writer !== undefined) return writer.status;
    const file = fileStatus(this.#files.ingestPath(row.directory));
    return {
      ref: row.ref,
      offsetBytes: file?.size ?? 0,
      totalBytes: Number(row.total),
      expected: row.expected,
      startedAt: row.started_at,
      updatedAt: file?.modifiedAt ?? row.started_at,
    };
  }

  #isUnnamed(digest: Digest): boolean {
    return !this.#pins.has(digest) && this.#records.sizeAnywhere(digest) === undefined;
  }

  #isOpen(directory: string): boolean {
    return this.#locks.values().some((lock) => lock.directory === directory);
  }

  #lock(scope: Scope, ref: string): Lock {
    const key = lockKey(scope, ref);
    const held = this.#locks.get(key);
    if (held !== undefined) {
      const seconds = ((performance.now() - held.openedAtMs) / 1000).toFixed(3);
      throw new TsError('Unavailable', `ref ${ref} locked for ${seconds}s: unavailable`, {
        code: 'TS_CONTENT_REF_LOCKED',
      });
    }
    const lock: Lock = { openedAtMs: performance.now() };
    this.#locks.set(key, lock);
    return lock;
  }

  #unlock(scope: Scope, ref: string): void {
    this.#locks.delete(lockKey(scope, ref));
  }

  #pin(digest: Digest): void {
    this.#pins.set(digest, (this.#pins.get(digest) ?? 0) + 1);
  }

  #unpin(digest: Digest): void {
    const pins = (this.#pins.get(digest) ?? 1) - 1;
    if (pins === 0) this.#pins.delete(digest);
    else this.#pins.set(digest, pins);
  }
}

/** A namespace has no slash, so that no two pairs give the same key. */
function lockKey(scope: Scope, ref: string): string {
  return `${scope.namespace}/${ref}`;
}

/** Synchronous, since it is one call on a file whose directory was just looked up. */
function fileStatus(path: string): { size: number; modifiedAt: bigint } | undefined {
  try {
    const { size, mtimeNs } = statSync(path, { bigint: true });
    return { size: Number(size), modifiedAt: mtimeNs };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined; // nothing was written yet
    throw error;
  }
}
