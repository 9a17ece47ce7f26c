import { setTimeout as sleep } from 'node:timers/promises';
import type { ContentStore, ContentWriter } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import { releaseBuffer } from '../linux/release-buffer.ts';
import type { Labels, Scope } from '../metadata/scope.ts';
import { refKey } from '../oci/index.ts';
import type { RegistryClient } from '../registry/registry-client.ts';
import { Flights } from './flights.ts';
import { isAlreadyThere } from './image-content.ts';
import type { Descriptor } from './image-store.ts';
import { DEFAULT_PARALLEL, openBlob, type ParallelOptions } from './parallel-body.ts';

const NO_LABELS: Labels = new Map();
/** How often to look whether another client's ingest of the same blob has ended. */
const LOCK_POLL_MS = 100;

export interface FetchProgress {
  /** Bytes that are in the store. */
  moved(blob: Descriptor, bytes: number): void;
}

/** Brings blobs from registries into the content store, verified while they stream. */
export class BlobFetcher {
  readonly #content: ContentStore;
  readonly #flights = new Flights();
  readonly #parallel: ParallelOptions;

  constructor(content: ContentStore, parallel: ParallelOptions = DEFAULT_PARALLEL) {
    this.#content = content;
    this.#parallel = parallel;
  }

  /**
   * Makes sure that the namespace has a blob and the scope's lease keeps it. Returns false when it
   * was there already. Concurrent calls for one digest, over all namespaces, fetch it once.
   */
  async fetch(
    scope: Scope,
    client: RegistryClient,
    blob: Descriptor,
    progress: FetchProgress,
  ): Promise<boolean> {
    return await this.#flights.run(blob.digest, scope.signal, async () => {
      scope.signal?.throwIfAborted();
      let storedBytes = 0;
      const attempt = async (): Promise<boolean> => {
        storedBytes = 0;
        await using writer = await this.#open(scope, blob);
        if (writer === undefined) return false;
        await this.#receive(scope, client, blob, writer, (bytes) => {
          storedBytes += bytes;
          progress.moved(blob, writer.status.offsetBytes);
        });
        return await this.#commit(scope, blob, writer);
      };
      try {
        return await client.retrying(scope.signal, attempt, () => storedBytes > 0);
      } catch (error) {
        throw TsError.from(error).within(`fetch ${refKey(blob.mediaType, blob.digest)}`);
      }
    });
  }

  /** An open ingest, or undefined when the blob is there. Waits for another client's ingest. */
  async #open(
    scope: Scope,
    { mediaType, digest, sizeBytes }: Descriptor,
  ): Promise<ContentWriter | undefined> {
    const ref = refKey(mediaType, digest);
    for (;;) {
      scope.signal?.throwIfAborted();
      try {
        return await this.#content.writer(scope, { ref, totalBytes: sizeBytes, expected: digest });
      } catch (error) {
        if (isAlreadyThere(error)) return undefined;
        if (!(error instanceof TsError) || error.code !== 'TS_CONTENT_REF_LOCKED') throw error;
        await sleep(LOCK_POLL_MS, undefined, scope.signal && { signal: scope.signal });
      }
    }
  }

  async #receive(
    scope: Scope,
    client: RegistryClient,
    blob: Descriptor,
    writer: ContentWriter,
    received: (bytes: number) => void,
  ): Promise<void> {
    const offset = writer.status.offsetBytes;
    if (offset === blob.sizeBytes) return; // whole already: the digest is checked at the commit
    if (offset > blob.sizeBytes) await writer.truncate(0);
    const { offsetBytes } = writer.status;
    const answer = await openBlob(client, blob, offsetBytes, this.#parallel, scope.signal);
    try {
      // A host that does not know ranges sends all of it again.
      if (answer.offsetBytes !== writer.status.offsetBytes) await writer.truncate(0);
      for await (const chunk of answer.body) {
        if (writer.status.offsetBytes + chunk.length > blob.sizeBytes) {
          throw mismatch(blob, `it has more than ${blob.sizeBytes} bytes`);
        }
        const { length } = chunk;
        await writer.write(chunk);
        releaseBuffer(chunk);
        received(length);
      }
    } catch (error) {
      answer.discard();
      throw error;
    }
    const receivedBytes = writer.status.offsetBytes;
    if (receivedBytes < blob.sizeBytes) {
      throw new TsError(
        'Unavailable',
        `the registry sent ${receivedBytes} of ${blob.sizeBytes} bytes: the connection was cut`,
      );
    }
  }

  async #commit(scope: Scope, blob: Descriptor, writer: ContentWriter): Promise<boolean> {
    const digest = writer.digest();
    if (digest !== blob.digest) {
      // What is wrong must not be resumed by a later pull.
      await writer.close();
      await this.#content.abort(scope, refKey(blob.mediaType, blob.digest));
      throw mismatch(blob, `it has the digest ${digest}`);
    }
    try {
      await writer.commit(blob.sizeBytes, blob.digest, NO_LABELS);
      return true;
    } catch (error) {
      if (isAlreadyThere(error)) return false;
      throw error;
    }
  }
}

function mismatch({ digest }: Descriptor, why: string): TsError {
  return new TsError(
    'FailedPrecondition',
    `the registry sent something else than ${digest}: ${why}`,
    {
      code: 'TS_REGISTRY_DIGEST_MISMATCH',
      advice: 'the registry, a mirror or a proxy before it changes or damages content',
    },
  );
}
