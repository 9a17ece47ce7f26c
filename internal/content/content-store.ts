import type { FileHandle } from 'node:fs/promises';
import type { Labels, Scope, TimeNs } from '../metadata/scope.ts';
import type { Digest } from '../oci/index.ts';

export type { Digest } from '../oci/index.ts';

export interface ContentInfo {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly createdAt: TimeNs;
  readonly updatedAt: TimeNs;
  readonly labels: Labels;
}

export interface IngestStatus {
  readonly ref: string;
  readonly offsetBytes: number;
  /** Size that the writer expects, 0 when unknown. */
  readonly totalBytes: number;
  readonly expected: Digest | '';
  readonly startedAt: TimeNs;
  readonly updatedAt: TimeNs;
}

export interface WriterOptions {
  /** Name of the ingest: a second writer for it is refused with Unavailable while one is open. */
  readonly ref: string;
  readonly totalBytes?: number;
  /** If the namespace has this digest already, opening fails with AlreadyExists. */
  readonly expected?: Digest | undefined;
}

/** One open ingest. Data survives `close()` and a crash: a later writer of the ref resumes. */
export interface ContentWriter extends AsyncDisposable {
  readonly status: IngestStatus;
  /** Appends. */
  write(data: Uint8Array): Promise<void>;
  /** Cuts the ingest back to `offset` bytes. */
  truncate(offset: number): Promise<void>;
  /** Digest of all that was written so far. */
  digest(): Digest;
  /**
   * Checks size (0: not checked) and digest, syncs, and makes the blob visible in the namespace.
   * A wrong size or digest is FailedPrecondition, a digest that is there AlreadyExists.
   */
  commit(sizeBytes: number, expected: Digest | undefined, labels: Labels): Promise<Digest>;
  /** Releases the ref; what was not committed stays for a later writer. */
  close(): Promise<void>;
}

/** Blobs by digest, per namespace; bytes that two namespaces share are stored once. */
export interface ContentStore {
  info(scope: Scope, digest: string): ContentInfo;
  update(scope: Scope, digest: string, labels: Labels, fieldPaths: readonly string[]): ContentInfo;
  list(scope: Scope, filters?: readonly string[]): ContentInfo[];
  delete(scope: Scope, digest: string): Promise<void>;
  /** A blob's file, open for reading: for worker threads, which share descriptors. */
  open(scope: Scope, digest: string): Promise<FileHandle>;
  /** Bytes from `offset`, `sizeBytes` of them or all that follow. */
  read(scope: Scope, digest: string, offset?: number, sizeBytes?: number): AsyncIterable<Buffer>;
  /** A whole small blob (manifest, config); one larger than `limitBytes` is ResourceExhausted. */
  readAll(scope: Scope, digest: string, limitBytes: number): Promise<Buffer>;
  writer(scope: Scope, options: WriterOptions): Promise<ContentWriter>;
  status(scope: Scope, ref: string): IngestStatus;
  listStatuses(scope: Scope, filters?: readonly string[]): IngestStatus[];
  abort(scope: Scope, ref: string): Promise<void>;
}
