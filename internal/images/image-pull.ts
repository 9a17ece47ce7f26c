/**
 * Pulls an image: documents first, then layers, several at once, each unpacked as soon as it and
 * those below it are there.
 *
 * The attack (CVE-2023-25153, GO-2026-6597): indexes that list indexes, each a small document and
 * all together without end. Depth and number of documents are limited, each is visited once.
 */

import type { ContentStore } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { Scope } from '../metadata/scope.ts';
import {
  bestPlatform,
  childLabels,
  childrenOf,
  formatPlatform,
  type ImageDocument,
  type ImageReference,
  MAX_DOCUMENT_BYTES,
  mediaKind,
  type Platform,
  platformDistance,
} from '../oci/index.ts';
import { Limiter } from '../registry/limiter.ts';
import type { Progress } from '../registry/progress.ts';
import { newSourceLabel } from '../registry/reference.ts';
import type { RegistryClient } from '../registry/registry-client.ts';
import type { TaskGroup } from '../registry/task-group.ts';
import type { BlobFetcher } from './blob-fetcher.ts';
import { addLabels, readConfig, readDocument } from './image-content.ts';
import type { Descriptor } from './image-store.ts';
import { DEFAULT_SNAPSHOTTER, type ImageTarget } from './image-target.ts';
import type { Unpacker } from './unpacker.ts';

const MAX_INDEX_DEPTH = 4;
const MAX_DOCUMENTS = 1000;

export interface PullContext {
  readonly content: ContentStore;
  readonly fetcher: BlobFetcher;
  readonly unpacker: Unpacker;
  readonly client: RegistryClient;
  readonly target: ImageTarget;
  readonly progress: Progress;
  readonly scope: Scope;
  readonly group: TaskGroup;
  /** Layers that are fetched at once. */
  readonly concurrency: number;
  /** Whether each layer is on the disk before its snapshot is there. */
  readonly isSynced: boolean;
  /**
   * Lets a layer go once it is unpacked (`discard_unpacked_layers`), so that the disk never has to hold all of an image twice;
   * undefined when layers are kept.
   */
  readonly discard: ((layer: Descriptor) => void) | undefined;
}

export class ImagePull {
  readonly #context: PullContext;
  readonly #downloads: Limiter;
  readonly #discards: boolean;
  readonly #visited = new Set<string>();
  #matched = 0;

  constructor(context: PullContext) {
    this.#context = context;
    // Of what is not unpacked the layers are all there is.
    this.#discards = context.discard !== undefined && context.target.unpacks.length > 0;
    this.#downloads = new Limiter(context.concurrency);
  }

  /** Brings all that the target wants of the image into the stores. */
  async run(root: Descriptor, name: string): Promise<void> {
    this.#context.progress.waiting(root, name);
    await this.#document({ ...root, platform: undefined }, 0, true);
    const { platforms } = this.#context.target;
    if (this.#matched === 0 && platforms.length > 0) {
      const wanted = platforms.map(formatPlatform).join(', ');
      throw new TsError('NotFound', `image ${name}: no manifest for platform ${wanted}`, {
        code: 'TS_IMAGE_PLATFORM',
      });
    }
  }

  /** Fetches an index or manifest and what it refers to; `isWanted`: its layers too. */
  async #document(descriptor: ImageReference, depth: number, isWanted: boolean): Promise<void> {
    if (this.#visited.has(descriptor.digest)) return;
    this.#visited.add(descriptor.digest);
    if (depth > MAX_INDEX_DEPTH || this.#visited.size > MAX_DOCUMENTS) {
      throw new TsError(
        'ResourceExhausted',
        `image index ${descriptor.digest}: more than ${depth > MAX_INDEX_DEPTH ? `${MAX_INDEX_DEPTH} levels` : `${MAX_DOCUMENTS} documents`}`,
        { code: 'TS_IMAGE_TOO_DEEP' },
      );
    }
    if (descriptor.sizeBytes > MAX_DOCUMENT_BYTES) {
      throw new TsError(
        'ResourceExhausted',
        `image document ${descriptor.digest}: ${descriptor.sizeBytes} bytes`,
      );
    }
    await this.#fetch(descriptor);
    const { content, scope } = this.#context;
    const document = await readDocument(content, scope, descriptor);
    const children = childrenOf(document);
    // Without a label nothing keeps a layer longer than this work's lease does.
    const isKept = ({ mediaType }: Descriptor): boolean =>
      !this.#discards || mediaKind(mediaType) !== 'layer';
    addLabels(content, scope, descriptor.digest, childLabels(children.filter(isKept)));
    for (const child of children) {
      if (this.#isTaken(child, document, isWanted))
        this.#context.progress.waiting(child, descriptor);
    }
    if (document.kind === 'manifest') await this.#manifest(descriptor, document, isWanted);
    else await this.#index(document.manifests, depth, isWanted);
  }

  #isTaken(child: ImageReference, document: ImageDocument, isWanted: boolean): boolean {
    if (document.kind === 'index') return isWanted || this.#context.target.hasAllMetadata;
    return isWanted || child === document.config;
  }

  async #index(
    manifests: readonly ImageReference[],
    depth: number,
    isWanted: boolean,
  ): Promise<void> {
    const { target } = this.#context;
    const wanted = isWanted ? this.#wanted(manifests) : new Set<ImageReference>();
    // One after the other: documents are small, and the order is that of the index.
    for (const child of manifests) {
      const kind = mediaKind(child.mediaType);
      if (kind !== 'index' && kind !== 'manifest') continue;
      const isChildWanted = wanted.has(child);
      if (!isChildWanted && !target.hasAllMetadata) continue;
      try {
        await this.#document(child, depth + 1, isChildWanted);
      } catch (error) {
        // Metadata of other platforms is nice to have: mirrors often lack it.
        const isMissing = error instanceof TsError && error.kind === 'NotFound';
        if (isChildWanted || !isMissing) throw error;
      }
    }
  }

  /** The manifests of an index whose layers are wanted. */
  #wanted(manifests: readonly ImageReference[]): Set<ImageReference> {
    const { platforms, manifestLimit } = this.#context.target;
    const unknown = manifests.filter(({ platform }) => platform === undefined);
    if (platforms.length === 0) {
      const all = manifests.filter(({ platform }) => platform?.os !== 'unknown');
      return new Set(manifestLimit > 0 ? all.slice(0, manifestLimit) : all);
    }
    const wanted = new Set<ImageReference>(unknown);
    for (const platform of platforms) {
      const best = bestPlatform([platform], manifests, (manifest) => manifest.platform);
      if (best !== undefined) wanted.add(best);
    }
    return new Set([...wanted].slice(0, manifestLimit > 0 ? manifestLimit : undefined));
  }

  async #manifest(
    descriptor: Descriptor,
    { config, layers }: ImageDocument & { kind: 'manifest' },
    isWanted: boolean,
  ): Promise<void> {
    const { scope, target, progress, unpacker } = this.#context;
    await this.#fetch(config);
    if (!isWanted) return;
    const platform = await this.#platformOf(config);
    const isMatch = target.platforms.length === 0 || isOneOf(target.platforms, platform);
    if (!isMatch) return;
    this.#matched++;
    const { group } = this.#context;
    const fetches = new Map<number, Promise<void>>();
    const fetch = (layer: Descriptor, index: number): Promise<void> => {
      const fetched =
        fetches.get(index) ?? group.start(() => this.#downloads.run(() => this.#fetch(layer)));
      fetches.set(index, fetched);
      return fetched;
    };
    const unpack = target.unpacks.find((one) => isOneOf([one.platform], platform));
    const parts: Promise<unknown>[] = [];
    // The same layer may be there several times.
    const waiting = layers.map(({ digest }) => digest);
    const unpacked = (layer: Descriptor): void => {
      waiting.splice(waiting.indexOf(layer.digest), 1);
      if (!waiting.includes(layer.digest)) this.#context.discard?.(layer);
    };
    const isImage = mediaKind(config.mediaType) === 'config';
    // What is unpacked, or what a remote snapshotter has, need not be fetched then.
    const isAskedFirst =
      unpack !== undefined &&
      isImage &&
      (this.#discards || unpacker.isRemote(unpack.snapshotter || DEFAULT_SNAPSHOTTER));
    if (!isAskedFirst) parts.push(...layers.map(fetch));
    if (unpack !== undefined && isImage) {
      const request = {
        config,
        layers,
        snapshotter: unpack.snapshotter || DEFAULT_SNAPSHOTTER,
        layerReady: async (index: number) => {
          const layer = layers[index];
          if (layer !== undefined) await fetch(layer, index);
        },
        isFetchedLast: isAskedFirst,
        isSynced: this.#context.isSynced,
        source: { reference: this.#context.client.name, manifest: descriptor.digest },
        onProgress: (event: string, layer: Descriptor) => {
          progress.done(event, layer);
          if (event === 'extracted') unpacked(layer);
        },
      };
      parts.push(group.start(() => unpacker.unpack(scope, request)));
    }
    await Promise.all(parts);
  }

  async #platformOf(config: Descriptor): Promise<Platform | undefined> {
    if (mediaKind(config.mediaType) !== 'config') return undefined;
    const { content, scope } = this.#context;
    return (await readConfig(content, scope, config.digest)).platform;
  }

  async #fetch(blob: Descriptor): Promise<void> {
    const { content, fetcher, client, progress, scope } = this.#context;
    const isNew = await fetcher.fetch(scope, client, blob, {
      moved: (descriptor, bytes) => progress.moved('downloading', descriptor, bytes),
    });
    progress.done(isNew ? 'complete' : 'already exists', blob);
    addSource(content, scope, blob, client);
  }
}

/** An artifact without a platform is for every one. */
function isOneOf(wanted: readonly Platform[], platform: Platform | undefined): boolean {
  if (platform === undefined) return true;
  return wanted.some((wish) => platformDistance(wish, platform) !== undefined);
}

/** Notes which repository a blob came from, so that a push to the same registry can mount it. */
function addSource(
  content: ContentStore,
  scope: Scope,
  blob: Descriptor,
  { reference }: RegistryClient,
): void {
  const { labels } = content.info(scope, blob.digest);
  addLabels(content, scope, blob.digest, newSourceLabel(labels, reference));
}
