import { Content, WriteAction } from '../api/generated/containerd.services.content.v1.ts';
import type { CallOptions } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { Client } from './client.ts';

/** Of one message of a write; a daemon takes 16 MiB. */
const CHUNK_BYTES = 1 << 20;

/** How a blob is written: what '' and 0 stand for is not checked. */
export interface BlobWrite {
  /** Name of the ingest. */
  readonly ref: string;
  readonly expected: string;
  readonly total: bigint;
  readonly labels?: ReadonlyMap<string, string>;
}

/** Writes and commits a blob; returns its digest. */
export async function writeBlob(
  client: Client,
  source: AsyncIterable<Uint8Array>,
  { ref, expected, total, labels = new Map() }: BlobWrite,
  options?: CallOptions,
): Promise<string> {
  let digest = '';
  const answers = client.service(Content).write(requests(), options);
  for await (const answer of answers) digest = answer.digest;
  return digest;

  async function* requests() {
    let offset = 0n;
    for await (const data of chunks(source)) {
      yield { action: WriteAction.WRITE, ref, offset, data };
      offset += BigInt(data.length);
    }
    yield { action: WriteAction.COMMIT, ref, offset, expected, total, labels };
  }
}

async function* chunks(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const data of source) {
    for (let at = 0; at < data.length; at += CHUNK_BYTES) yield data.subarray(at, at + CHUNK_BYTES);
  }
}

/**
 * The same for what is read from `open` at an offset: where an earlier attempt ended. Nothing is read before the daemon has
 * said that it wants it; throws its AlreadyExists, or what reading throws.
 */
export async function resumeBlob(
  client: Client,
  open: (offset: number) => AsyncIterable<Uint8Array>,
  { ref, expected, total, labels = new Map() }: BlobWrite,
  options: CallOptions,
): Promise<void> {
  let begin = (_offset: bigint | undefined): void => undefined;
  const begun = new Promise<bigint | undefined>((resolve) => {
    begin = resolve;
  });
  let readError: TsError | undefined;
  try {
    const answers = client.service(Content).write(requests(), options);
    for await (const { offset } of answers) begin(offset);
  } catch (thrown) {
    throw readError ?? thrown;
  } finally {
    begin(undefined);
  }

  async function* requests() {
    yield { action: WriteAction.STAT, ref, expected, total };
    let offset = await begun;
    if (offset === undefined) return;
    try {
      for await (const data of chunks(open(Number(offset)))) {
        yield { action: WriteAction.WRITE, ref, offset, data };
        offset += BigInt(data.length);
      }
    } catch (thrown) {
      readError = TsError.from(thrown);
      throw thrown;
    }
    yield { action: WriteAction.COMMIT, ref, offset, expected, total, labels };
  }
}

/** Sees to it that a blob whose digest is known is there with these labels. */
export async function ensureBlob(
  client: Client,
  bytes: Uint8Array,
  digest: string,
  labels: ReadonlyMap<string, string>,
  options: CallOptions,
): Promise<void> {
  const total = BigInt(bytes.length);
  const write = { ref: `write-${digest}`, expected: digest, total, labels };
  try {
    await writeBlob(client, once(bytes), write, options);
  } catch (thrown) {
    if (TsError.from(thrown).kind !== 'AlreadyExists') throw thrown;
    const paths = [...labels.keys()].map((key) => `labels.${key}`);
    await client
      .service(Content)
      .update({ info: { digest, labels }, updateMask: { paths } }, options);
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void> {
  yield bytes;
}
