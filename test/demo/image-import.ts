// Puts an image into a daemon through its API, as a client does: blobs into the content store, layers unpacked into
// snapshots. The chain of labels keeps the collector from taking what the image needs.
import { status as grpcStatus } from '@grpc/grpc-js';
import {
  Content,
  WriteAction,
  type WriteContentRequest,
} from '../../internal/api/generated/containerd.services.content.v1.ts';
import { Diff } from '../../internal/api/generated/containerd.services.diff.v1.ts';
import { Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { Snapshots } from '../../internal/api/generated/containerd.services.snapshots.v1.ts';
import type { Init } from '../../internal/api/init.ts';
import type { GrpcConnection } from '../fixtures/grpc-client.ts';
import { type BuiltImage, digestOf } from '../fixtures/oci-image.ts';

/** Bytes in one message: well below the 16 MiB that a daemon takes. */
const CHUNK_BYTES = 1 << 20;

interface Document {
  readonly mediaType: string;
  readonly config: { readonly mediaType: string; readonly digest: string; readonly size: number };
  readonly layers: readonly { mediaType: string; digest: string; size: number }[];
  readonly rootfs: { readonly diff_ids: readonly string[] };
}

/** Imports and unpacks `image`; returns the name of the snapshot that a container of it starts from. */
export async function importImage(
  connection: GrpcConnection,
  image: BuiltImage,
  snapshotter: string,
): Promise<string> {
  const leases = connection.service(Leases);
  const { lease } = await leases.create({ id: `import-${process.pid}` });
  const id = lease?.id ?? '';
  const metadata: [string, string][] = [['containerd-lease', id]];
  try {
    const manifest = JSON.parse(String(image.blobs.get(image.manifestDigest))) as Document;
    const config = JSON.parse(String(image.blobs.get(image.configDigest))) as Document;
    const chain = chainIds(config.rootfs.diff_ids);
    const top = chain.at(-1) ?? '';
    for (const [digest, content] of image.blobs) {
      const labels: [string, string][] = [];
      if (digest === image.manifestDigest) {
        labels.push(['containerd.io/gc.ref.content.config', manifest.config.digest]);
        manifest.layers.forEach((layer, i) => {
          labels.push([`containerd.io/gc.ref.content.l.${i}`, layer.digest]);
        });
      } else if (digest === image.configDigest) {
        labels.push([`containerd.io/gc.ref.snapshot.${snapshotter}`, top]);
      }
      await writeBlob(connection, digest, content, labels, metadata);
    }
    const snapshots = connection.service(Snapshots);
    const diff = connection.service(Diff);
    let parent = '';
    for (const [i, layer] of manifest.layers.entries()) {
      const key = `extract-${i}-${process.pid}`;
      const { mounts } = await snapshots.prepare({ snapshotter, key, parent }, { metadata });
      await diff.apply({ diff: { ...layer, size: BigInt(layer.size) }, mounts }, { metadata });
      const name = chain[i] ?? '';
      await snapshots.commit({ snapshotter, name, key }, { metadata });
      parent = name;
    }
    const size = BigInt(image.blobs.get(image.manifestDigest)?.length ?? 0);
    const target = { mediaType: manifest.mediaType, digest: image.manifestDigest, size };
    await connection.service(Images).create({ image: { name: image.name, target } });
    return top;
  } finally {
    await leases.delete({ id });
  }
}

/** A snapshot is named for all layers up to it. Source: image-spec config.md, layer chain ID. */
function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}

async function writeBlob(
  connection: GrpcConnection,
  digest: string,
  content: Buffer,
  labels: [string, string][],
  metadata: [string, string][],
): Promise<void> {
  const ref = `demo-${digest}`;
  const total = BigInt(content.length);
  async function* requests(): AsyncGenerator<Init<WriteContentRequest>> {
    for (let offset = 0; offset < content.length; offset += CHUNK_BYTES) {
      const data = content.subarray(offset, offset + CHUNK_BYTES);
      yield {
        action: WriteAction.WRITE,
        ref,
        total,
        expected: digest,
        offset: BigInt(offset),
        data,
      };
    }
    yield { action: WriteAction.COMMIT, ref, total, expected: digest, offset: total, labels };
  }
  try {
    // The server answers each message; the last answer comes when the blob is stored.
    for await (const _ of connection.service(Content).write(requests(), { metadata }));
  } catch (error) {
    // The same blob from another image is as good.
    if ((error as { code?: number }).code !== grpcStatus.ALREADY_EXISTS) throw error;
  }
}
