import { createHash } from 'node:crypto';
import { Content } from '../api/generated/containerd.services.content.v1.ts';
import { Images } from '../api/generated/containerd.services.images.v1.ts';
import { Snapshots } from '../api/generated/containerd.services.snapshots.v1.ts';
import { TsError } from '../errors/index.ts';
import { bestPlatform, type Json, parseJson } from '../oci/index.ts';
import type { Client } from './client.ts';
import type { Platform } from './platform.ts';

/** Largest manifest, index or config that is read into memory. */
const MAX_DOCUMENT_BYTES = 8 << 20;

/** A reference to a blob (image-spec descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: Platform;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A blob with what it refers to. */
export interface ImageNode {
  readonly descriptor: Descriptor;
  /** Its JSON, when it is a document and the daemon has it. */
  readonly document: Record<string, Json | undefined> | undefined;
  readonly children: readonly ImageNode[];
}

const INDEXES = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
const MANIFESTS = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const CONFIGS = [
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
];

export const isIndex = ({ mediaType }: Descriptor): boolean => INDEXES.includes(mediaType);
export const isManifest = ({ mediaType }: Descriptor): boolean => MANIFESTS.includes(mediaType);
export const isConfig = ({ mediaType }: Descriptor): boolean => CONFIGS.includes(mediaType);

/** The record of an image: its name and the descriptor that it stands for. Throws the daemon's NotFound. */
export async function imageTarget(client: Client, name: string): Promise<Descriptor> {
  const { image } = await client.service(Images).get({ name });
  if (image?.target === undefined) throw new TsError('NotFound', `image "${name}": not found`);
  const { mediaType, digest, size } = image.target;
  return { mediaType, digest, size: Number(size) };
}

/** The bytes of a blob, a message at a time. */
export async function* readBlob(client: Client, digest: string): AsyncGenerator<Uint8Array, void> {
  for await (const { data } of client.service(Content).read({ digest })) yield data;
}

/** All of a small blob. Throws ResourceExhausted when it is none. */
export async function readAll(
  client: Client,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
): Promise<Buffer> {
  if (size > MAX_DOCUMENT_BYTES) {
    throw new TsError('ResourceExhausted', `document ${digest}: ${size} bytes are too many`);
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of readBlob(client, digest)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A document of JSON from the content store. */
export async function readDocument(
  client: Client,
  descriptor: Descriptor,
): Promise<Record<string, Json | undefined>> {
  const { digest } = descriptor;
  const json = parseJson(await readAll(client, descriptor), `document ${digest}`);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new TsError('InvalidArgument', `document ${digest}: not a JSON object`);
  }
  return json;
}

/** The tree below a descriptor, as far as the daemon has its documents. */
export async function readTree(client: Client, descriptor: Descriptor): Promise<ImageNode> {
  const isDocument = isIndex(descriptor) || isManifest(descriptor) || isConfig(descriptor);
  const document = isDocument ? await documentOrNone(client, descriptor) : undefined;
  const children = document === undefined ? [] : childrenOf(descriptor, document);
  return {
    descriptor,
    document,
    children: await Promise.all(children.map((child) => readTree(client, child))),
  };
}

async function documentOrNone(client: Client, descriptor: Descriptor) {
  try {
    return await readDocument(client, descriptor);
  } catch (thrown) {
    // Manifests of platforms that were not asked for are left out of a pull.
    if (TsError.from(thrown).kind === 'NotFound') return undefined;
    throw thrown;
  }
}

function childrenOf(parent: Descriptor, document: Record<string, Json | undefined>): Descriptor[] {
  if (isIndex(parent)) return descriptors(document['manifests']);
  if (!isManifest(parent)) return [];
  return [...descriptors([document['config'] ?? null]), ...descriptors(document['layers'])];
}

/** The descriptors in a list of a document; what is none is left out. */
export function descriptors(value: Json | undefined): Descriptor[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((each) => {
    if (typeof each !== 'object' || each === null || Array.isArray(each)) return [];
    const { mediaType, digest, size } = each;
    if (typeof mediaType !== 'string' || typeof digest !== 'string') return [];
    const platform = platformOf(each['platform']);
    const base = { mediaType, digest, size: Number(size ?? 0) };
    return [platform === undefined ? base : { ...base, platform }];
  });
}

/** A platform in an index or a config; undefined when it names none. */
export function platformOf(value: unknown): Platform | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { os, architecture, variant = '' } = value as Record<string, unknown>;
  if (typeof os !== 'string' || typeof architecture !== 'string' || os === '') return undefined;
  return { os, architecture, variant: typeof variant === 'string' ? variant : '' };
}

/** The manifests of a tree, each with its platform: that of the index, else of the config. */
export function manifestsOf(
  node: ImageNode,
): { node: ImageNode; platform: Platform | undefined }[] {
  if (isIndex(node.descriptor)) return node.children.flatMap(manifestsOf);
  if (!isManifest(node.descriptor)) return [];
  const config = node.children.find(({ descriptor }) => isConfig(descriptor));
  return [{ node, platform: node.descriptor.platform ?? platformOf(config?.document) }];
}

/** The manifest that runs on `platform`, whose documents the daemon has. */
export function manifestFor(node: ImageNode, platform: Platform): ImageNode | undefined {
  const readable = manifestsOf(node).filter((each) => each.node.document !== undefined);
  return bestPlatform([platform], readable, (each) => each.platform)?.node;
}

/** An image as a container is made of it. */
export interface UnpackableImage {
  readonly name: string;
  readonly target: Descriptor;
  readonly manifest: ImageNode;
  readonly config: Record<string, Json | undefined>;
  readonly diffIds: readonly string[];
}

/** Reads an image's documents for a platform. Throws NotFound when there is nothing for it. */
export async function readImage(
  client: Client,
  name: string,
  platform: Platform,
): Promise<UnpackableImage> {
  const target = await imageTarget(client, name);
  return await readManifest(client, name, target, platform);
}

/** The same from a descriptor. */
export async function readManifest(
  client: Client,
  name: string,
  target: Descriptor,
  platform: Platform,
): Promise<UnpackableImage> {
  const tree = await readTree(client, target);
  const manifest = manifestFor(tree, platform);
  const config = manifest?.children.find(({ descriptor }) => isConfig(descriptor))?.document;
  if (manifest === undefined || config === undefined) {
    const wanted = [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/');
    throw new TsError('NotFound', `image "${name}": no manifest for ${wanted}: not found`, {
      advice: `pull it with --platform ${wanted}`,
    });
  }
  return { name, target, manifest, config, diffIds: diffIdsOf(config) };
}

function diffIdsOf(config: Record<string, Json | undefined>): string[] {
  const rootfs = config['rootfs'];
  const ids =
    typeof rootfs === 'object' && rootfs !== null && !Array.isArray(rootfs)
      ? rootfs['diff_ids']
      : undefined;
  return Array.isArray(ids) ? ids.filter((id) => typeof id === 'string') : [];
}

/** The names of an image's snapshots, from the lowest layer up (image-spec config.md#layer-chainid). */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : sha256(`${below} ${diffId}`));
  }
  return chain;
}

function sha256(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/** Whether a snapshotter has a snapshot. */
export async function hasSnapshot(
  client: Client,
  snapshotter: string,
  key: string,
): Promise<boolean> {
  try {
    await client.service(Snapshots).stat({ snapshotter, key });
    return true;
  } catch (thrown) {
    if (TsError.from(thrown).kind === 'NotFound') return false;
    throw thrown;
  }
}
