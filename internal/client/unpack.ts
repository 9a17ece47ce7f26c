import { randomBytes } from 'node:crypto';
import { Content } from '../api/generated/containerd.services.content.v1.ts';
import { Diff } from '../api/generated/containerd.services.diff.v1.ts';
import { Snapshots } from '../api/generated/containerd.services.snapshots.v1.ts';
import type { CallOptions } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { Client } from './client.ts';
import { chainIds, hasSnapshot, isConfig, type UnpackableImage } from './image-content.ts';

/**
 * Makes the snapshots of an image's layers that are not there yet, and returns the name of the topmost ('' for an image
 * without layers). `options` hold a lease.
 */
export async function unpackImage(
  client: Client,
  image: UnpackableImage,
  snapshotter: string,
  syncFs: boolean,
  options: CallOptions,
): Promise<string> {
  const chain = chainIds(image.diffIds);
  const layers = image.manifest.children.filter(({ descriptor }) => !isConfig(descriptor));
  if (layers.length !== chain.length) {
    const counts = `${layers.length} layers, but ${chain.length} diff_ids`;
    throw new TsError('InvalidArgument', `image "${image.name}": ${counts}`);
  }
  const snapshots = client.service(Snapshots);
  for (const [index, name] of chain.entries()) {
    const layer = layers[index]?.descriptor;
    if (layer === undefined || (await hasSnapshot(client, snapshotter, name))) continue;
    const parent = chain[index - 1] ?? '';
    const key = `extract-${Date.now()}-${randomBytes(3).toString('hex')} ${name}`;
    const { mounts } = await snapshots.prepare({ snapshotter, key, parent }, options);
    try {
      const diff = { mediaType: layer.mediaType, digest: layer.digest, size: BigInt(layer.size) };
      const { applied } = await client.service(Diff).apply({ diff, mounts, syncFs }, options);
      const wanted = image.diffIds[index] ?? '';
      if (applied?.digest !== wanted) {
        throw new TsError(
          'FailedPrecondition',
          `layer ${layer.digest}: its content is ${applied?.digest}, not ${wanted}`,
        );
      }
      await commit(client, { snapshotter, name, key, parent }, options);
      await label(client, layer.digest, 'containerd.io/uncompressed', wanted, options);
    } catch (thrown) {
      await snapshots.remove({ snapshotter, key }, options).catch(() => undefined); // the first error counts
      throw thrown;
    }
  }
  const top = chain.at(-1) ?? '';
  if (top !== '') await keepSnapshot(client, image, snapshotter, top, options);
  return top;
}

async function commit(
  client: Client,
  request: { snapshotter: string; name: string; key: string; parent: string },
  options: CallOptions,
): Promise<void> {
  const labels = [['containerd.io/snapshot.ref', request.name]] as const;
  try {
    await client.service(Snapshots).commit({ ...request, labels }, options);
  } catch (thrown) {
    // Somebody else was faster.
    if (TsError.from(thrown).kind !== 'AlreadyExists') throw thrown;
    await client
      .service(Snapshots)
      .remove({ snapshotter: request.snapshotter, key: request.key }, options);
  }
}

/** The config's label by which the collector knows that the image needs its snapshots. */
async function keepSnapshot(
  client: Client,
  image: UnpackableImage,
  snapshotter: string,
  top: string,
  options: CallOptions,
): Promise<void> {
  const config = image.manifest.children.find(({ descriptor }) => isConfig(descriptor));
  if (config === undefined) return;
  const key = `containerd.io/gc.ref.snapshot.${snapshotter}`;
  await label(client, config.descriptor.digest, key, top, options);
}

async function label(
  client: Client,
  digest: string,
  key: string,
  value: string,
  options: CallOptions,
): Promise<void> {
  const info = { digest, labels: [[key, value]] as const };
  await client.service(Content).update({ info, updateMask: { paths: [`labels.${key}`] } }, options);
}
