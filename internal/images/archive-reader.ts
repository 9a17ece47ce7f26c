/**
 * Reads an image archive (a tar, compressed or not) into the content store as it streams in: OCI
 * image layout, or what `docker save` writes. What the archive is, is known only at its end, since
 * `index.json` and `manifest.json` may come last.
 *
 * The attack (CVE-2023-25153): a small compressed archive with a file, or with files, that fill the
 * memory. What is read into memory has a limit, and so has the number of entries, whose names are kept.
 */
import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import type { ContentStore, Digest } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { Scope } from '../metadata/scope.ts';
import { isDigest, MAX_DOCUMENT_BYTES } from '../oci/index.ts';
import { decompressor, detectCompression } from '../snapshots/layer-stream.ts';
import { isAlreadyThere } from './image-content.ts';

/** A file of the archive that is in the content store. */
export interface ArchiveBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

export interface ArchiveContents {
  /** By path in the archive, links included. */
  readonly blobs: ReadonlyMap<string, ArchiveBlob>;
  /** Small files that say what the archive is: `oci-layout`, `index.json`, `manifest.json`. */
  readonly documents: ReadonlyMap<string, Buffer>;
}

/** A file in the tar, with its data. */
type Entry = AsyncIterable<Buffer> & { readonly header: Header; resume(): unknown };

const DOCUMENTS = new Set(['oci-layout', 'index.json', 'manifest.json']);
/** Files of old `docker save` that nobody needs. */
const IGNORED = /(?:^|\/)(?:VERSION|json|repositories)$/;
const MAX_LINKS = 10;
/** More than the blobs of any image, with all its platforms. */
const MAX_ENTRIES = 100_000;

/** Stores all files of an archive. An archive that breaks off or is no tar is DataLoss. */
export async function readArchive(
  content: ContentStore,
  scope: Scope,
  source: AsyncIterable<Buffer>,
): Promise<ArchiveContents> {
  const reader = new ArchiveReader(content, scope);
  const tar = extract();
  try {
    await Promise.all([
      decompressInto(source, tar),
      reader.readAll(tar as unknown as AsyncIterable<Entry>),
    ]);
  } catch (error) {
    tar.destroy();
    throw archiveError(error, reader.current);
  }
  return reader.contents();
}

async function decompressInto(
  source: AsyncIterable<Buffer>,
  tar: NodeJS.WritableStream,
): Promise<void> {
  const iterator = source[Symbol.asyncIterator]();
  const first = await iterator.next();
  const head = first.done === true ? Buffer.alloc(0) : first.value;
  async function* whole(): AsyncGenerator<Buffer> {
    yield head;
    yield* { [Symbol.asyncIterator]: () => iterator };
  }
  const compression = detectCompression(head);
  const input = Readable.from(whole(), { objectMode: false });
  if (compression === 'none') await pipeline(input, tar);
  else await pipeline(input, decompressor(compression), tar);
}

class ArchiveReader {
  /** Path of the file that is being read, for errors; '' before the first. */
  current = '';
  readonly #content: ContentStore;
  readonly #scope: Scope;
  readonly #blobs = new Map<string, ArchiveBlob>();
  readonly #documents = new Map<string, Buffer>();
  readonly #links = new Map<string, string>();
  /** Keeps two imports with files of the same names apart. */
  readonly #unique = randomBytes(6).toString('hex');

  constructor(content: ContentStore, scope: Scope) {
    this.#content = content;
    this.#scope = scope;
  }

  async readAll(tar: AsyncIterable<Entry>): Promise<void> {
    let entries = 0;
    for await (const entry of tar) {
      this.#scope.signal?.throwIfAborted();
      if (++entries > MAX_ENTRIES) {
        throw new TsError('ResourceExhausted', `image archive: more than ${MAX_ENTRIES} entries`);
      }
      await this.#take(entry);
      entry.resume(); // what was not read is skipped
    }
  }

  contents(): ArchiveContents {
    for (const path of this.#links.keys()) {
      const blob = this.#blobs.get(this.#resolve(path));
      if (blob !== undefined) this.#blobs.set(path, blob);
    }
    return { blobs: this.#blobs, documents: this.#documents };
  }

  #resolve(path: string): string {
    let target = path;
    for (let i = 0; i < MAX_LINKS; i++) target = this.#links.get(target) ?? target;
    return target;
  }

  async #take(entry: Entry): Promise<void> {
    const { name, type, size, linkname } = entry.header;
    const path = posix.normalize(name).replace(/^\.?\//, '');
    this.current = path;
    if (type === 'symlink' || type === 'link') {
      const base = type === 'symlink' ? posix.dirname(path) : '';
      this.#links.set(path, posix.join(base, linkname));
    } else if (type === 'file' && DOCUMENTS.has(path)) {
      this.#documents.set(path, await this.#readDocument(path, size, entry));
    } else if (type === 'file' && !IGNORED.test(path)) {
      this.#blobs.set(path, await this.#store(path, size, entry));
    }
  }

  async #readDocument(path: string, size: number, entry: Entry): Promise<Buffer> {
    if (size > MAX_DOCUMENT_BYTES) {
      throw new TsError('ResourceExhausted', `image archive: ${path} has ${size} bytes`);
    }
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async #store(path: string, size: number, entry: Entry): Promise<ArchiveBlob> {
    const expected = digestOfPath(path);
    const ref = `import-${this.#unique}-${path}`;
    try {
      await using writer = await this.#content.writer(this.#scope, {
        ref,
        totalBytes: size,
        expected,
      });
      const isComplete = size > 0 && writer.status.offsetBytes === size; // another namespace's
      if (!isComplete) for await (const chunk of entry) await writer.write(chunk);
      const digest = expected ?? writer.digest();
      if (!isComplete && writer.digest() !== digest) {
        throw new TsError(
          'FailedPrecondition',
          `image archive: ${path} has the digest ${writer.digest()}: digest mismatch`,
          { code: 'TS_ARCHIVE_DIGEST_MISMATCH', advice: 'the archive was damaged or changed' },
        );
      }
      try {
        await writer.commit(size, digest, new Map());
      } catch (error) {
        if (!isAlreadyThere(error)) throw error;
      }
      return { digest, sizeBytes: size };
    } catch (error) {
      if (expected !== undefined && isAlreadyThere(error)) {
        return { digest: expected, sizeBytes: size };
      }
      throw error;
    }
  }
}

/** What the name of a blob in an OCI layout promises: `blobs/sha256/HEX`. */
function digestOfPath(path: string): Digest | undefined {
  const match = /^blobs\/([^/]+)\/([^/]+)$/.exec(path);
  const digest = match === null ? '' : `${match[1]}:${match[2]}`;
  return isDigest(digest) ? digest : undefined;
}

function archiveError(error: unknown, path: string): TsError {
  if (error instanceof TsError) return error;
  if (error instanceof Error && error.name === 'AbortError') return TsError.from(error);
  const why = error instanceof Error ? error.message : String(error);
  const isShort = /unexpected end|premature close/i.test(why);
  const where = path === '' ? '' : ` in ${path}`;
  const text = isShort ? `it ends early${where}` : `${why}${where}`;
  return new TsError('DataLoss', `read image archive: ${text}`, {
    code: isShort ? 'TS_ARCHIVE_TRUNCATED' : 'TS_ARCHIVE_INVALID',
    cause: error,
  });
}
