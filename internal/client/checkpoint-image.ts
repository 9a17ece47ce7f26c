/**
 * Containers as images and back (containerd client/container_checkpoint_opts.go, container_restore_opts.go): an index whose
 * manifests are the container's image, its own layer, the memory and the configuration of its task, and the options of both.
 * What ctr has written is read here, and the reverse.
 */
import { createHash } from 'node:crypto';
import { packAny } from '../api/any.ts';
import { CheckpointOptions } from '../api/generated/containerd.runc.v1.ts';
import { type Container, Containers } from '../api/generated/containerd.services.containers.v1.ts';
import { Diff } from '../api/generated/containerd.services.diff.v1.ts';
import { Images } from '../api/generated/containerd.services.images.v1.ts';
import { Snapshots } from '../api/generated/containerd.services.snapshots.v1.ts';
import { Tasks } from '../api/generated/containerd.services.tasks.v1.ts';
import type { Descriptor as ApiDescriptor } from '../api/generated/containerd.types.ts';
import { Any } from '../api/generated/google.protobuf.ts';
import type { CallOptions } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import { formatJson } from '../oci/index.ts';
import { ensureBlob } from './blob-write.ts';
import type { Client } from './client.ts';
import {
  type Descriptor,
  descriptors,
  imageTarget,
  readBlob,
  readDocument,
  readImage,
} from './image-content.ts';
import { hostPlatform } from './platform.ts';
import { diffSnapshots } from './snapshot-diff.ts';
import { unpackImage } from './unpack.ts';
import { withLease } from './work-lease.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const CRIU = 'application/vnd.containerd.container.criu.checkpoint.criu.tar';
const CONFIG = 'application/vnd.containerd.container.checkpoint.config.v1+proto';
const TASK_OPTIONS = 'application/vnd.containerd.container.checkpoint.options.v1+proto';
const RUNTIME_OPTIONS = 'application/vnd.containerd.container.checkpoint.runtime.options+proto';

const IMAGE_NAME = 'org.opencontainers.image.ref.name';
const RUNTIME_NAME = 'io.containerd.checkpoint.runtime';
const SNAPSHOTTER_NAME = 'io.containerd.checkpoint.snapshotter';

/** What a checkpoint holds beside the runtime's options. */
export interface CheckpointParts {
  readonly image: boolean;
  readonly rw: boolean;
  readonly task: boolean;
}

/** Writes a container as the image `name`. */
export async function checkpointContainer(
  client: Client,
  container: Container,
  name: string,
  parts: CheckpointParts,
): Promise<void> {
  if (container.image === '') {
    throw new TsError('NotFound', 'container not created from an image: not found');
  }
  const { image } = await client.service(Images).get({ name: container.image });
  await withLease(client, async (options) => {
    const manifests = await runtimeOptions(client, container, options);
    if (parts.image && image?.target !== undefined) manifests.push(plain(image.target));
    if (parts.rw) manifests.push(await ownLayer(client, container, options));
    if (parts.task) manifests.push(...(await taskState(client, container, options)));
    const annotations = {
      [RUNTIME_NAME]: container.runtime?.name ?? '',
      [SNAPSHOTTER_NAME]: container.snapshotter,
      [IMAGE_NAME]: container.image,
    };
    const text = formatJson({
      schemaVersion: 2,
      manifests: manifests.map(descriptorJson),
      annotations,
    });
    const labels = manifests.map(
      ({ digest }, index) => [`containerd.io/gc.ref.content.${index}`, digest] as const,
    );
    const bytes = Buffer.from(text);
    const target = await storeBlob(client, INDEX, bytes, options, new Map(labels));
    const { digest } = target;
    await client.service(Images).create({
      image: { name, target: { mediaType: INDEX, digest, size: BigInt(bytes.length) } },
    });
  });
}

async function runtimeOptions(
  client: Client,
  { runtime }: Container,
  options: CallOptions,
): Promise<Descriptor[]> {
  const given = runtime?.options;
  if (given === undefined || given.value.length === 0) return [];
  const blob = await storeBlob(client, RUNTIME_OPTIONS, Any.encode(given), options);
  return [here(blob)];
}

async function ownLayer(
  client: Client,
  { snapshotter, snapshotKey: key }: Container,
  options: CallOptions,
): Promise<Descriptor> {
  const request = { mediaType: LAYER, ref: `checkpoint-rw-${key}` };
  const layer = await diffSnapshots(client, { snapshotter, key }, request, options);
  return here(plain(layer));
}

async function taskState(
  client: Client,
  { id }: Container,
  options: CallOptions,
): Promise<Descriptor[]> {
  const given = packAny(CheckpointOptions, { fileLocks: true });
  const request = { containerId: id, options: given };
  const state = await client.service(Tasks).checkpoint(request, options);
  const blob = await storeBlob(client, TASK_OPTIONS, Any.encode(given), options);
  return [...state.descriptors.map(plain), blob].map(here);
}

/** A container that a checkpoint was made into, with the state of its task if there is one. */
export interface RestoredContainer {
  readonly target: Descriptor;
  /** Of CRIU's files. */
  readonly state: Descriptor | undefined;
}

/** Creates the container `id` from the checkpoint image `name`, with the files that it had if `rw` is wanted. */
export async function restoreContainer(
  client: Client,
  id: string,
  name: string,
  { rw }: { rw: boolean },
): Promise<RestoredContainer> {
  const target = await imageTarget(client, name);
  const index = await readDocument(client, target);
  const parts = descriptors(index['manifests']);
  const part = (mediaType: string) => parts.find((each) => each.mediaType === mediaType);
  const annotation = annotationsOf(name, index['annotations']);
  const snapshotter = annotation(SNAPSHOTTER_NAME, 'snapshotter');
  const runtime = annotation(RUNTIME_NAME, 'runtime');
  const image = await readImage(client, annotation(IMAGE_NAME, 'image name'), hostPlatform());
  const config = needed(name, part(CONFIG), 'configuration', '--task');
  const layer = rw ? needed(name, part(LAYER), 'layer of files', '--rw') : undefined;
  const given = part(RUNTIME_OPTIONS);
  const spec = Any.decode(await readAll(client, config));
  const runtimeConfig = given && Any.decode(await readAll(client, given));
  await withLease(client, async (options) => {
    const parent = await unpackImage(client, image, snapshotter, false, options);
    const snapshots = client.service(Snapshots);
    const { mounts } = await snapshots.prepare({ snapshotter, key: id, parent }, options);
    try {
      if (layer !== undefined) {
        const { mediaType, digest, size } = layer;
        const diff = { mediaType, digest, size: BigInt(size) };
        await client.service(Diff).apply({ diff, mounts }, options);
      }
      const container = {
        id,
        image: image.name,
        runtime: { name: runtime, options: runtimeConfig },
        spec,
        snapshotter,
        snapshotKey: id,
      };
      await client.service(Containers).create({ container }, options);
    } catch (thrown) {
      await snapshots.remove({ snapshotter, key: id }, options);
      throw thrown;
    }
  });
  return { target, state: part(CRIU) };
}

/** Of this machine's platform: by it CRIU's files are found again. */
function here(descriptor: Descriptor): Descriptor {
  return { ...descriptor, platform: hostPlatform() };
}

/** With the keys in Go's order, and without what Go leaves out. */
function descriptorJson({ platform, ...descriptor }: Descriptor): object {
  if (platform === undefined) return descriptor;
  const { architecture, os, variant } = platform;
  return { ...descriptor, platform: { architecture, os, variant: variant || undefined } };
}

function annotationsOf(name: string, annotations: unknown) {
  return (key: string, what: string): string => {
    const value = (annotations as Record<string, unknown> | undefined)?.[key];
    if (typeof value === 'string' && value !== '') return value;
    throw new TsError('InvalidArgument', `image "${name}": ${what} not found in index`, {
      advice: 'name an image that tsctr containers checkpoint has made',
    });
  };
}

function needed(
  name: string,
  part: Descriptor | undefined,
  what: string,
  flag: string,
): Descriptor {
  if (part !== undefined) return part;
  throw new TsError('NotFound', `checkpoint "${name}": it holds no ${what}: not found`, {
    advice: `make it by tsctr containers checkpoint ${flag}`,
  });
}

async function readAll(client: Client, { digest }: Descriptor): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readBlob(client, digest)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function storeBlob(
  client: Client,
  mediaType: string,
  bytes: Uint8Array,
  options: CallOptions,
  labels: ReadonlyMap<string, string> = new Map(),
): Promise<Descriptor> {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  await ensureBlob(client, bytes, digest, labels, options);
  return { mediaType, digest, size: bytes.length };
}

function plain({ mediaType, digest, size, annotations }: ApiDescriptor): Descriptor {
  const descriptor = { mediaType, digest, size: Number(size) };
  if (annotations.size === 0) return descriptor;
  return { ...descriptor, annotations: Object.fromEntries([...annotations].sort()) };
}
