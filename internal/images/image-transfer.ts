import type { ContentStore } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { LeaseStore } from '../metadata/lease-store.ts';
import type { Scope } from '../metadata/scope.ts';
import { MAX_DOCUMENT_BYTES, type Platform, platformDistance } from '../oci/index.ts';
import { ImagePush, type PushSource } from '../registry/image-push.ts';
import { Progress, type ProgressSink } from '../registry/progress.ts';
import { sourceLabel } from '../registry/reference.ts';
import { RegistryClient, type RegistryOptions } from '../registry/registry-client.ts';
import { together } from '../registry/task-group.ts';
import { BlobFetcher } from './blob-fetcher.ts';
import { readConfig } from './image-content.ts';
import { type ExportOptions, exportImages } from './image-export.ts';
import { type Imported, importArchive } from './image-import.ts';
import { namesOf, namesOfImported } from './image-names.ts';
import { ImagePull } from './image-pull.ts';
import type { Descriptor, Image, ImageStore } from './image-store.ts';
import { DEFAULT_SNAPSHOTTER, type ImageTarget, storeImages } from './image-target.ts';
import type { ParallelOptions } from './parallel-body.ts';
import { Unpacker, type UnpackerStores } from './unpacker.ts';
import { withWorkLease } from './work-lease.ts';

export interface TransferStores extends UnpackerStores {
  readonly images: ImageStore;
}

/** How many layers of one image are moved at once. */
export interface TransferLimits {
  readonly downloads: number;
  readonly uploads: number;
  /** Whether the layers of pulls into a namespace are let go once they are unpacked. */
  readonly discardsLayers?: (scope: Scope) => boolean;
  /** How a large layer is fetched. */
  readonly parallel?: ParallelOptions;
}

/** How one pull differs from others. */
export interface PullOptions {
  /** Layers that are fetched at once. */
  readonly downloads?: number;
  /** Whether each layer is on the disk before its snapshot is there. */
  readonly isSynced?: boolean;
}

/** Moves images between archives, registries and the store. */
export class ImageTransfer {
  readonly #content: ContentStore;
  readonly #images: ImageStore;
  readonly #leases: LeaseStore;
  readonly #unpacker: Unpacker;
  readonly #fetcher: BlobFetcher;
  readonly #limits: TransferLimits;

  constructor(stores: TransferStores, limits: TransferLimits) {
    this.#limits = limits;
    this.#content = stores.content;
    this.#images = stores.images;
    this.#leases = stores.leases;
    this.#unpacker = new Unpacker(stores);
    this.#fetcher = new BlobFetcher(stores.content, limits.parallel);
  }

  /** Stores the images of an archive, under the names that `target` and the archive say. */
  async import(
    scope: Scope,
    archive: AsyncIterable<Buffer>,
    target: ImageTarget,
    options: { isCompressed: boolean },
    sink: ProgressSink,
  ): Promise<void> {
    const progress = new Progress(sink);
    await withWorkLease(this.#leases, scope, async (leased) => {
      progress.say('Importing');
      const imported = await importArchive(this.#content, leased, archive, {
        platforms: target.platforms,
        isCompressed: options.isCompressed,
      });
      const named = nameImported(imported, target);
      await this.#unpackImported(leased, imported, target, progress);
      for (const { descriptor, names } of named) {
        storeImages(this.#images, leased, descriptor, names, target.labels);
        for (const name of names) progress.image('saved', name, descriptor);
      }
      progress.say('Completed import');
    });
  }

  /** Pulls an image from a registry and stores it under the names that `target` says. */
  async pull(
    scope: Scope,
    registry: RegistryOptions,
    target: ImageTarget,
    sink: ProgressSink,
    options: PullOptions = {},
  ): Promise<void> {
    const progress = new Progress(sink);
    const from = `OCI Registry (${registry.reference})`;
    await withRegistry(registry, 'pull', async (client) => {
      progress.say(`Resolving from ${from}`);
      const root = await client.resolve(scope.signal);
      progress.say(`Pulling from ${from}`);
      progress.image('fetching image content', registry.reference, root);
      const discards = this.#limits.discardsLayers?.(scope) ?? false;
      await withWorkLease(this.#leases, scope, async (leased) => {
        const letGo = ({ digest }: Descriptor): void => {
          this.#leases.deleteResource(scope, leased.lease ?? '', { type: 'content', id: digest });
        };
        await together(leased.signal, async (group) => {
          const pull = new ImagePull({
            content: this.#content,
            fetcher: this.#fetcher,
            unpacker: this.#unpacker,
            client,
            target,
            progress,
            group,
            concurrency: options.downloads ?? this.#limits.downloads,
            isSynced: options.isSynced ?? false,
            discard: discards ? letGo : undefined,
            scope: { ...leased, signal: group.signal },
          });
          await pull.run(root, registry.reference);
        });
        const names = namesOf(root, target.name, target.names);
        storeImages(this.#images, leased, root, names, target.labels);
        for (const name of names) progress.image('saved', name, root);
      });
      progress.say(`Completed pull from ${from}`);
    });
  }

  /** Pushes the image `name` to a registry. */
  async push(
    scope: Scope,
    name: string,
    registry: RegistryOptions,
    platforms: readonly Platform[],
    sink: ProgressSink,
  ): Promise<void> {
    const progress = new Progress(sink);
    const to = `OCI Registry (${registry.reference})`;
    const { target } = this.#images.get(scope, name);
    await withRegistry(registry, 'push', async (client) => {
      progress.say(`Pushing to ${to}`);
      progress.image('pushing content', name, target);
      await together(scope.signal, async (group) => {
        const push = new ImagePush({
          source: this.#pushSource({ ...scope, signal: group.signal }, client.reference.host),
          client,
          progress,
          platforms,
          group,
          concurrency: this.#limits.uploads,
          // As containerd: who may not pass them on must not push the image.
          pushesForeign: true,
        });
        await push.run(target, name);
      });
      progress.image('pushed content', name, target);
      progress.say(`Completed push to ${to}`);
    });
  }

  /** The archive of the images with the given names. */
  async export(
    scope: Scope,
    names: readonly string[],
    options: ExportOptions,
  ): Promise<AsyncIterable<Buffer>> {
    const images: Image[] = names.map((name) => this.#images.get(scope, name));
    return await exportImages(this.#content, scope, images, options);
  }

  /** Gives the image `name` further names. */
  tag(scope: Scope, name: string, target: ImageTarget): void {
    const image = this.#images.get(scope, name);
    const names = namesOf(image.target, target.name, target.names);
    if (names.length === 0) throw new TsError('InvalidArgument', `tag ${name}: no name given`);
    storeImages(this.#images, scope, image.target, names, target.labels);
  }

  #pushSource(scope: Scope, host: string): PushSource {
    const content = this.#content;
    const label = sourceLabel(host);
    return {
      readDocument: ({ digest }) => content.readAll(scope, digest, MAX_DOCUMENT_BYTES),
      read: ({ digest }) => content.read(scope, digest),
      repositoriesOf: async ({ digest }) => {
        return content.info(scope, digest).labels.get(label)?.split(',') ?? [];
      },
    };
  }

  async #unpackImported(
    scope: Scope,
    imported: Imported,
    target: ImageTarget,
    progress: Progress,
  ): Promise<void> {
    for (const { config, layers } of imported.manifests) {
      if (target.unpacks.length === 0) return;
      const { platform } = await readConfig(this.#content, scope, config.digest);
      const wanted = target.unpacks.find(
        (unpack) => platform && platformDistance(unpack.platform, platform) !== undefined,
      );
      if (wanted === undefined) continue;
      const snapshotter = wanted.snapshotter || DEFAULT_SNAPSHOTTER;
      await this.#unpacker.unpack(scope, {
        config,
        layers,
        snapshotter,
        onProgress: (event, layer) => progress.done(event, layer),
      });
    }
  }
}

async function withRegistry(
  options: RegistryOptions,
  action: 'pull' | 'push',
  body: (client: RegistryClient) => Promise<void>,
): Promise<void> {
  const client = await RegistryClient.open(options, action);
  try {
    await body(client);
  } catch (error) {
    throw TsError.from(error).within(`${action} ${options.reference}`);
  } finally {
    client.close();
  }
}

/** What an archive's images are stored as: each manifest by its annotations, the index if named. */
function nameImported(
  { index, images }: Imported,
  target: ImageTarget,
): { descriptor: Descriptor; names: string[] }[] {
  const named = [
    { descriptor: index, names: namesOf(index, target.name, target.names) },
    ...images.map((image) => ({ descriptor: image, names: namesOfImported(image, target.names) })),
  ].filter(({ names }) => names.length > 0);
  if (named.length > 0) return named;
  throw new TsError('NotFound', 'image archive: no image of it has a name that is asked for', {
    code: 'TS_ARCHIVE_UNNAMED',
    advice: 'give another base name, or take images by their digests',
  });
}
