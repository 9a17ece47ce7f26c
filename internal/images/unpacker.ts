/**
 * Makes an image's layers into snapshots, one on the other, named by chain ID (image-spec
 * config.md#layer-chainid), as containerd's unpacker does: snapshots of images that share layers
 * are shared.
 */
import { createHash, randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import type { ContentStore } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { LeaseStore } from '../metadata/lease-store.ts';
import type { Labels, Scope } from '../metadata/scope.ts';
import { Limiter } from '../registry/limiter.ts';
import { together } from '../registry/task-group.ts';
import { type Differ, NEEDS_LOWER } from '../snapshots/differ.ts';
import { SNAPSHOT_REF } from '../snapshots/snapshot-driver.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import { Flights } from './flights.ts';
import { addLabels, isAlreadyThere, readConfig } from './image-content.ts';
import type { Descriptor } from './image-store.ts';
import { UNCOMPRESSED_LABEL } from './layer-media-type.ts';

/** Annotations of a layer that become labels of its snapshot, for remote snapshotters. */
const INHERITED_PREFIX = 'containerd.io/snapshot/';

export interface UnpackerStores {
  readonly content: ContentStore;
  readonly leases: LeaseStore;
  readonly differ: Differ;
  readonly snapshotters: ReadonlyMap<string, Snapshotter>;
}

export interface UnpackRequest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  /** Plugin id of the snapshotter. */
  readonly snapshotter: string;
  /** Resolves when the blob of a layer is in the content store. */
  readonly layerReady?: (index: number) => Promise<void>;
  /** Whether to look for a layer's snapshot before `layerReady` is asked for its blob. */
  readonly isFetchedLast?: boolean;
  /** Whether each layer is on the disk before its snapshot is there. */
  readonly isSynced?: boolean;
  /** What the image was asked for as, and its manifest: told to remote snapshotters. */
  readonly source?: { readonly reference: string; readonly manifest: string };
  readonly onProgress?: (event: 'extracting' | 'extracted', layer: Descriptor) => void;
}

/** What a layer's snapshot is called, what its content must be, and whether it must be on the disk first. */
interface LayerNames {
  readonly parent: string;
  readonly chainId: string;
  readonly diffId: string;
  readonly isSynced: boolean;
}

/** Chain IDs of a stack of layers, from the lowest. */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    const hash = createHash('sha256').update(`${below} ${diffId}`).digest('hex');
    chain.push(below === undefined ? diffId : `sha256:${hash}`);
  }
  return chain;
}

export class Unpacker {
  readonly #stores: UnpackerStores;
  readonly #flights = new Flights();
  readonly #unpacks: Limiter;

  /** `concurrency` layers at most are unpacked at once: each keeps a thread busy. */
  constructor(stores: UnpackerStores, concurrency = Math.min(4, availableParallelism())) {
    this.#stores = stores;
    this.#unpacks = new Limiter(concurrency);
  }

  /** Whether a snapshotter may have layers without being given them. */
  isRemote(snapshotter: string): boolean {
    return this.#stores.snapshotters.get(snapshotter)?.isRemote ?? false;
  }

  /** Unpacks an image; returns the name of its topmost snapshot. Must run under a lease. */
  async unpack(scope: Scope, request: UnpackRequest): Promise<string> {
    const { config, layers } = request;
    const { content, snapshotters } = this.#stores;
    const snapshotter = snapshotters.get(request.snapshotter);
    if (snapshotter === undefined) {
      throw new TsError(
        'NotFound',
        `snapshotter ${request.snapshotter} was not loaded: not found`,
        {
          advice: `use one of ${[...snapshotters.keys()].join(', ')}`,
        },
      );
    }
    const { diffIds } = await readConfig(content, scope, config.digest);
    if (diffIds.length !== layers.length) {
      throw new TsError(
        'InvalidArgument',
        `image config ${config.digest}: ${diffIds.length} diff_ids for ${layers.length} layers`,
      );
    }
    const chain = chainIds(diffIds);
    await together(scope.signal, async (group) => {
      const grouped = { ...scope, signal: group.signal };
      let below: Promise<void> = Promise.resolve();
      const parts: Promise<void>[] = [];
      for (const [index, layer] of layers.entries()) {
        const names = {
          parent: chain[index - 1] ?? '',
          chainId: chain[index] ?? '',
          diffId: diffIds[index] ?? '',
          isSynced: request.isSynced ?? false,
        };
        const parentReady = below;
        const ready = (): Promise<void> => request.layerReady?.(index) ?? Promise.resolve();
        below = group.start(async () => {
          if (snapshotter.isRemote) {
            const remote = { ...layer, annotations: remoteAnnotations(request, index) };
            await parentReady;
            await this.#remoteLayer(grouped, snapshotter, remote, names, ready);
            return;
          }
          const isThere =
            request.isFetchedLast === true &&
            this.#keepExisting(grouped, snapshotter, names.chainId);
          if (isThere) return await parentReady;
          await ready();
          await this.#layer(grouped, snapshotter, layer, names, parentReady, () =>
            request.onProgress?.('extracting', layer),
          );
        });
        parts.push(
          below.then(() => {
            const label = new Map([[UNCOMPRESSED_LABEL, names.diffId]]);
            if (hasBlob(content, scope, layer)) addLabels(content, scope, layer.digest, label);
            request.onProgress?.('extracted', layer);
          }),
        );
      }
      await Promise.all(parts);
    });
    const top = chain.at(-1) ?? '';
    const label = `containerd.io/gc.ref.snapshot.${snapshotter.name}`;
    if (top !== '') addLabels(content, scope, config.digest, new Map([[label, top]]));
    return top;
  }

  /** Whether the snapshot is there; then the caller's lease keeps it from now on. */
  #keepExisting(scope: Scope, snapshotter: Snapshotter, chainId: string): boolean {
    try {
      snapshotter.stat(scope, chainId);
    } catch (error) {
      if (error instanceof TsError && error.kind === 'NotFound') return false;
      throw error;
    }
    if (scope.lease !== undefined) {
      const type = `snapshots/${snapshotter.name}`;
      this.#stores.leases.addResource(scope, scope.lease, { type, id: chainId });
    }
    return true;
  }

  /**
   * Makes one layer's snapshot. Where snapshots can be rebased it is unpacked at once, beside those
   * below it (containerd issue 8881), else when they are there. It becomes visible after them only.
   */
  async #layer(
    scope: Scope,
    snapshotter: Snapshotter,
    layer: Descriptor,
    names: LayerNames,
    parentReady: Promise<void>,
    onStart: () => void,
  ): Promise<void> {
    const { chainId, parent, isSynced } = names;
    // What is attached later is written later too.
    const isDetached = snapshotter.canRebase && parent !== '' && !isSynced;
    if (!isDetached) await parentReady;
    const key = `${scope.namespace} ${snapshotter.name} ${chainId}`;
    await this.#flights.run(key, scope.signal, async () => {
      scope.signal?.throwIfAborted();
      if (this.#keepExisting(scope, snapshotter, chainId)) return;
      onStart();
      if (isDetached) await this.#unpackDetached(scope, snapshotter, layer, names, parentReady);
      else await this.#unpackLayer(scope, snapshotter, layer, names);
    });
    await parentReady;
  }

  /** Makes a layer's snapshot where it may be there without its blob, which is fetched only if not. */
  async #remoteLayer(
    scope: Scope,
    snapshotter: Snapshotter,
    layer: Descriptor,
    names: LayerNames,
    ready: () => Promise<void>,
  ): Promise<void> {
    const key = `${scope.namespace} ${snapshotter.name} ${names.chainId}`;
    await this.#flights.run(key, scope.signal, async () => {
      if (this.#keepExisting(scope, snapshotter, names.chainId)) return;
      await this.#extract(scope, snapshotter, layer, names, async (extractKey, labels) => {
        const mounts = await snapshotter.prepare(scope, extractKey, names.parent, labels);
        await ready();
        return await this.#unpacks.run(() =>
          this.#stores.differ.apply(scope, layer, mounts, names),
        );
      });
    });
  }

  async #unpackDetached(
    scope: Scope,
    snapshotter: Snapshotter,
    layer: Descriptor,
    names: LayerNames,
    parentReady: Promise<void>,
  ): Promise<void> {
    const { differ } = this.#stores;
    try {
      await this.#extract(
        scope,
        snapshotter,
        layer,
        { ...names, parent: '' },
        async (key, labels) => {
          const detached = await this.#unpacks.run(async () => {
            const mounts = await snapshotter.prepare(scope, key, '', labels);
            return await differ.applyDetached(scope, layer, mounts);
          });
          await parentReady;
          await differ.attach(scope, detached, await snapshotter.rebase(scope, key, names.parent));
          return detached.descriptor;
        },
      );
    } catch (error) {
      if (!(error instanceof TsError) || error.code !== NEEDS_LOWER) throw error;
      await this.#unpackLayer(scope, snapshotter, layer, names);
    }
  }

  async #unpackLayer(
    scope: Scope,
    snapshotter: Snapshotter,
    layer: Descriptor,
    names: LayerNames,
  ): Promise<void> {
    await this.#extract(scope, snapshotter, layer, names, (key, labels) =>
      this.#unpacks.run(async () => {
        const mounts = await snapshotter.prepare(scope, key, names.parent, labels);
        return await this.#stores.differ.apply(scope, layer, mounts, names);
      }),
    );
  }

  /** Commits what `apply` made of the snapshot `key`, if it is what the image's config says. */
  async #extract(
    scope: Scope,
    snapshotter: Snapshotter,
    layer: Descriptor,
    { chainId, diffId }: LayerNames,
    apply: (key: string, labels: Labels) => Promise<Descriptor>,
  ): Promise<void> {
    const inherited = [...layer.annotations].filter(([key]) => key.startsWith(INHERITED_PREFIX));
    const labels = new Map([...inherited, [SNAPSHOT_REF, chainId]]);
    const unique = `${process.hrtime.bigint() % 1_000_000_000n}-${randomBytes(3).toString('base64url')}`;
    const key = `extract-${unique} ${chainId}`;
    try {
      const applied = await apply(key, labels);
      if (applied.digest !== diffId) {
        throw new TsError(
          'FailedPrecondition',
          `layer ${layer.digest}: its content is ${applied.digest}, the image config says ${diffId}`,
          { code: 'TS_LAYER_DIFF_ID_MISMATCH' },
        );
      }
      await snapshotter.commit(scope, chainId, key, labels);
    } catch (error) {
      await removeAfter(error, snapshotter, scope, key);
      // Another client unpacked the same layer by its own calls meanwhile.
      if (isAlreadyThere(error) && this.#keepExisting(scope, snapshotter, chainId)) return;
      throw error;
    }
  }
}

const CRI_PREFIX = 'containerd.io/snapshot/cri.';
/** Longest value of a label, with its key. */
const MAX_LABEL_BYTES = 4096;

/** What a remote snapshotter needs to get a layer by itself (containerd pkg/snapshotters annotations). */
function remoteAnnotations(
  { layers, source }: UnpackRequest,
  index: number,
): ReadonlyMap<string, string> {
  const [layer, ...above] = layers.slice(index);
  if (layer === undefined || source === undefined) return layer?.annotations ?? new Map();
  const listKey = `${CRI_PREFIX}image-layers`;
  let list = layer.digest as string;
  for (const { digest } of above) {
    if (listKey.length + list.length + 1 + digest.length > MAX_LABEL_BYTES) break;
    list += `,${digest}`;
  }
  return new Map([
    ...layer.annotations,
    [`${CRI_PREFIX}image-ref`, source.reference],
    [`${CRI_PREFIX}manifest-digest`, source.manifest],
    [`${CRI_PREFIX}layer-digest`, layer.digest],
    [listKey, list],
  ]);
}

/** Whether a layer was fetched: of a remote snapshotter's it need not be. */
function hasBlob(content: ContentStore, scope: Scope, { digest }: Descriptor): boolean {
  try {
    content.info(scope, digest);
    return true;
  } catch (error) {
    if (error instanceof TsError && error.kind === 'NotFound') return false;
    throw error;
  }
}

/** Removes what a failed unpack left; if that fails too, it is noted on the first error. */
async function removeAfter(
  error: unknown,
  snapshotter: Snapshotter,
  scope: Scope,
  key: string,
): Promise<void> {
  try {
    await snapshotter.remove({ ...scope, signal: undefined }, key);
  } catch (cleanup) {
    // It was refused before it was made.
    if (cleanup instanceof TsError && cleanup.kind === 'NotFound') return;
    if (error instanceof TsError) error.cleanup.push(TsError.from(cleanup));
  }
}
