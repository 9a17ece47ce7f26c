import { createHash, randomUUID } from 'node:crypto';
import { Readable, type Transform } from 'node:stream';
import { createGunzip, createZstdCompress, createZstdDecompress } from 'node:zlib';
import type { CallOptions } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import { writeBlob } from './blob-write.ts';
import type { Client } from './client.ts';
import { type Descriptor, readBlob } from './image-content.ts';

/** What a layer is to become. */
export type LayerForm = 'uncompressed' | 'zstd';

/** Layers by the form that they are in (image-spec layer.md, moby image/spec). */
const LAYER =
  /^(application\/vnd\.(?:oci\.image\.layer(?:\.nondistributable)?\.v1\.tar|docker\.image\.rootfs(?:\.foreign)?\.diff\.tar))(?:[+.](gzip|zstd))?$/;

/** The label by which the daemon knows a layer's uncompressed digest. */
const UNCOMPRESSED_LABEL = 'containerd.io/uncompressed';

/**
 * Writes a layer in another form and returns its descriptor; undefined when it is in that form, or
 * is no layer. The archive in it, and so the diff ID, stays the same.
 */
export async function convertLayer(
  client: Client,
  layer: Descriptor,
  form: LayerForm,
  options: CallOptions,
): Promise<Descriptor | undefined> {
  const match = LAYER.exec(layer.mediaType);
  const [, base = '', compression] = match ?? [];
  if (match === null || compression === (form === 'zstd' ? 'zstd' : undefined)) return undefined;
  const diffId = createHash('sha256');
  const blob = createHash('sha256');
  const labels = new Map<string, string>();
  let size = 0;
  async function* converted(): AsyncGenerator<Uint8Array, void> {
    const archive = through(readBlob(client, layer.digest), decompressor(compression));
    const hashed = passing(archive, (chunk) => diffId.update(chunk));
    const packed = form === 'zstd' ? through(hashed, createZstdCompress()) : hashed;
    yield* passing(packed, (chunk) => {
      blob.update(chunk);
      size += chunk.length;
    });
    labels.set(UNCOMPRESSED_LABEL, `sha256:${diffId.digest('hex')}`); // sent with the commit
  }
  const write = { ref: `convert-${randomUUID()}`, expected: '', total: 0n, labels };
  try {
    await writeBlob(client, converted(), write, options);
  } catch (thrown) {
    const error = TsError.from(thrown);
    if (error.kind !== 'AlreadyExists') throw error.within(`convert layer ${layer.digest}`);
  }
  const suffix = base.includes('docker') ? '.zstd' : '+zstd';
  const mediaType = form === 'zstd' ? `${base}${suffix}` : base;
  return { ...layer, mediaType, digest: `sha256:${blob.digest('hex')}`, size };
}

function decompressor(compression: string | undefined): Transform | undefined {
  if (compression === undefined) return undefined;
  return compression === 'zstd' ? createZstdDecompress() : createGunzip();
}

/** What comes out of a transform into which all of the source goes; its failure is the source's. */
function through(
  source: AsyncIterable<Uint8Array>,
  transform: Transform | undefined,
): AsyncIterable<Uint8Array> {
  if (transform === undefined) return source;
  return Readable.from(source).compose(transform) as AsyncIterable<Uint8Array>;
}

async function* passing(
  source: AsyncIterable<Uint8Array>,
  see: (chunk: Uint8Array) => void,
): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of source) {
    see(chunk);
    yield chunk;
  }
}
