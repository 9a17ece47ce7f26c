/**
 * One large blob over several connections: ranges of it are fetched side by side and handed on in
 * order. One connection to a far registry is often slower than the line (containerd issue 10450).
 */
import { TsError } from '../errors/index.ts';
import type { BlobBody, RegistryClient } from '../registry/registry-client.ts';
import type { Descriptor } from './image-store.ts';

export interface ParallelOptions {
  /** Ranges that are fetched at once, each held in memory until those before it are handed on. */
  readonly connections: number;
  readonly partBytes: number;
  /** Blobs from this size on are fetched so. */
  readonly fromBytes: number;
}

export const DEFAULT_PARALLEL: ParallelOptions = {
  connections: 4,
  partBytes: 4 << 20,
  fromBytes: 64 << 20,
};

/** Opens a blob from `offset` on, in parallel when it is large and its host knows ranges. */
export async function openBlob(
  client: RegistryClient,
  blob: Descriptor,
  offset: number,
  options: ParallelOptions,
  signal?: AbortSignal,
): Promise<BlobBody> {
  const left = blob.sizeBytes - offset;
  if (options.connections < 2 || left < options.fromBytes || left < 2 * options.partBytes) {
    return await client.open(blob, offset, signal);
  }
  const first = await client.open(blob, offset, signal, options.partBytes);
  // A host without ranges answers with all of it: that is read as it comes.
  if (!first.isPartial) return first;
  const stop = new AbortController();
  const signals = AbortSignal.any([stop.signal, ...(signal === undefined ? [] : [signal])]);
  const parts = new Parts(client, blob, offset, options, signals);
  return {
    body: parts.read(first, stop),
    offsetBytes: offset,
    isPartial: true,
    discard: () => {
      first.discard();
      stop.abort();
    },
  };
}

class Parts {
  readonly #client: RegistryClient;
  readonly #blob: Descriptor;
  readonly #options: ParallelOptions;
  readonly #signal: AbortSignal;
  #next: number;

  constructor(
    client: RegistryClient,
    blob: Descriptor,
    offset: number,
    options: ParallelOptions,
    signal: AbortSignal,
  ) {
    this.#client = client;
    this.#blob = blob;
    this.#options = options;
    this.#signal = signal;
    this.#next = offset;
  }

  /** All parts in order. `stop` ends those that are not read to the end. */
  async *read(first: BlobBody, stop: AbortController): AsyncGenerator<Buffer> {
    const running: Part[] = [this.#start(first)];
    try {
      for (;;) {
        while (running.length < this.#options.connections && this.#next < this.#blob.sizeBytes) {
          running.push(this.#start(undefined));
        }
        const part = running.shift();
        if (part === undefined) return;
        yield* part.chunks();
      }
    } finally {
      stop.abort();
      await Promise.allSettled(running.map((part) => part.ended));
    }
  }

  #start(opened: BlobBody | undefined): Part {
    const start = this.#next;
    const end = Math.min(start + this.#options.partBytes, this.#blob.sizeBytes);
    this.#next = end;
    const part = new Part();
    part.ended = this.#fetch(part, start, end, opened);
    return part;
  }

  /** Fetches one range; what is cut is resumed where it was. */
  async #fetch(
    part: Part,
    start: number,
    end: number,
    opened: BlobBody | undefined,
  ): Promise<void> {
    let position = start;
    let answer = opened;
    let isMoving = false;
    const attempt = async (): Promise<void> => {
      isMoving = false;
      const length = end - position;
      const body = answer ?? (await this.#client.open(this.#blob, position, this.#signal, length));
      answer = undefined;
      if (!body.isPartial) {
        body.discard();
        throw new TsError('Unavailable', 'the registry answers some ranges and others not');
      }
      for await (const chunk of body.body) {
        if (position + chunk.length > end) {
          body.discard();
          throw new TsError('Unavailable', 'the registry sent more than the range asked for');
        }
        part.push(chunk);
        position += chunk.length;
        isMoving = true;
      }
      if (position < end) {
        const sent = `${position - start} of ${end - start} bytes`;
        throw new TsError(
          'Unavailable',
          `the registry sent ${sent} of a range: the connection was cut`,
        );
      }
    };
    try {
      await this.#client.retrying(this.#signal, attempt, () => isMoving);
      part.end(undefined);
    } catch (error) {
      part.end(error);
    }
  }
}

/** What has come of a range and is not handed on yet. */
class Part {
  /** Settles when nothing more comes; never rejects. */
  ended: Promise<void> = Promise.resolve();
  #chunks: Buffer[] = [];
  #isEnded = false;
  #error: unknown;
  #wake: () => void = () => undefined;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#wake();
  }

  end(error: unknown): void {
    this.#isEnded = true;
    this.#error = error;
    this.#wake();
  }

  async *chunks(): AsyncGenerator<Buffer> {
    for (;;) {
      const chunks = this.#chunks;
      this.#chunks = [];
      yield* chunks;
      if (this.#chunks.length > 0) continue;
      if (this.#isEnded) break;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#error !== undefined) throw this.#error;
  }
}
