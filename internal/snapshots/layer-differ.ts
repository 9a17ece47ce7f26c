import { randomBytes } from 'node:crypto';
import { type FileHandle, open, statfs } from 'node:fs/promises';
import type { ContentStore, Digest } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { Descriptor } from '../images/image-store.ts';
import {
  checkLayerMediaType,
  compressionOf,
  UNCOMPRESSED_LABEL,
} from '../images/layer-media-type.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import type { Scope } from '../metadata/scope.ts';
import { OCI_LAYER, parseDigest } from '../oci/index.ts';
import type { ApplyOptions, DetachedLayer, Differ, DiffOptions } from './differ.ts';
import type { Diffed, DiffJob, DiffSource } from './job.ts';
import type { LayerLimits } from './layer-apply.ts';
import { layerTarget, overlayLayers } from './layer-target.ts';
import type { LayerTreeOptions } from './layer-tree.ts';
import type { Mount } from './snapshotter.ts';
import type { StreamProcessors } from './stream-processors.ts';
import { withMounts } from './temporary-mount.ts';
import type { WorkerPool } from './worker-pool.ts';

const NO_ANNOTATIONS: ReadonlyMap<string, string> = new Map();
const NO_PAYLOADS: ReadonlyMap<string, Uint8Array> = new Map();
const COPY_BYTES = 256 * 1024;
/** More files than any real layer has; each costs an inode, whose number is limited too. */
const MAX_ENTRIES = 10_000_000;
/** What a layer must leave free of the file system: a full disk stops the whole machine. */
const RESERVED_FRACTION = 0.02;

export interface LayerDifferOptions {
  /** Whether overlays keep their marks in `user.` attributes. */
  readonly hasUserXattrs: boolean;
  /** Where mounts are made that have to be looked into; its owner sweeps it. */
  readonly mountDirectory: string;
  /** On the disk that has room for a layer: where it is written before its digest is known. */
  readonly fileDirectory: string;
  /** Programs that make layers out of other media types. */
  readonly processors: StreamProcessors;
}

/** Applies and makes layers in worker threads. */
export class LayerDiffer implements Differ {
  readonly #content: ContentStore;
  readonly #workers: WorkerPool;
  readonly #options: LayerDifferOptions;

  constructor(content: ContentStore, workers: WorkerPool, options: LayerDifferOptions) {
    this.#content = content;
    this.#workers = workers;
    this.#options = options;
  }

  async apply(
    scope: Scope,
    layer: Descriptor,
    mounts: readonly Mount[],
    options: ApplyOptions = {},
  ): Promise<Descriptor> {
    const { hasUserXattrs } = this.#options;
    const target = layerTarget(mounts, hasUserXattrs);
    if (target !== undefined)
      return (await this.#applyTo(scope, layer, target, options)).descriptor;
    return await this.#withMounts(mounts, async (root) => {
      const tree: LayerTreeOptions = { root, kind: 'plain', lowers: [], hasUserXattrs };
      return (await this.#applyTo(scope, layer, tree, options)).descriptor;
    });
  }

  async applyDetached(
    scope: Scope,
    layer: Descriptor,
    mounts: readonly Mount[],
  ): Promise<DetachedLayer> {
    const target = layerTarget(mounts, this.#options.hasUserXattrs);
    if (target === undefined) {
      throw new TsError('Internal', 'internal error: a detached layer has no directory');
    }
    return await this.#applyTo(scope, layer, { ...target, kind: 'overlay' }, {});
  }

  async attach(scope: Scope, layer: DetachedLayer, mounts: readonly Mount[]): Promise<void> {
    const { implied } = layer;
    const tree = layerTarget(mounts, this.#options.hasUserXattrs);
    if (tree === undefined || implied.length === 0) return;
    await this.#workers.run({ kind: 'adopt', tree, implied }, scope.signal);
  }

  async #applyTo(
    scope: Scope,
    layer: Descriptor,
    tree: LayerTreeOptions,
    { isSynced = false, payloads = NO_PAYLOADS }: ApplyOptions,
  ): Promise<DetachedLayer> {
    try {
      await using blob = await this.#content.open(scope, layer.digest);
      const { processors } = this.#options;
      const processed = await processors.process(layer, blob.fd, payloads, scope.signal);
      await using plain = processed?.file;
      // After the blob was opened: what is not there has no type.
      checkLayerMediaType(processed?.mediaType ?? layer.mediaType, layer.digest);
      const limits = await limitsOf(tree.root);
      const applied = await this.#workers.run(
        { kind: 'apply', fd: plain?.fd ?? blob.fd, tree, limits, isSynced },
        scope.signal,
      );
      const descriptor = {
        mediaType: OCI_LAYER,
        digest: parseDigest(applied.diffId, 'diff ID'),
        sizeBytes: applied.sizeBytes,
        annotations: NO_ANNOTATIONS,
      };
      return { descriptor, implied: applied.implied };
    } catch (error) {
      throw TsError.from(error).within(`apply layer ${layer.digest}`);
    }
  }

  async diff(
    scope: Scope,
    lower: readonly Mount[],
    upper: readonly Mount[],
    options: DiffOptions,
  ): Promise<Descriptor> {
    const mediaType = options.mediaType === '' ? `${OCI_LAYER}+gzip` : options.mediaType;
    const compression = compressionOf(mediaType);
    // An unnamed file: gone with its descriptor, whatever happens.
    const { fileDirectory } = this.#options;
    await using file = await open(fileDirectory, OpenFlag.O_TMPFILE | OpenFlag.O_RDWR, 0o600);
    const run = async (source: DiffSource): Promise<Diffed> => {
      const job: DiffJob = {
        kind: 'diff',
        fd: file.fd,
        source,
        compression,
        maxTimeNs: options.sourceDateEpoch,
      };
      return await this.#workers.run(job, scope.signal);
    };
    const made = await this.#compare(lower, upper, file, run);
    const digest = parseDigest(made.digest, 'layer');
    await this.#store(scope, file, digest, made, options);
    return { mediaType, digest, sizeBytes: made.sizeBytes, annotations: NO_ANNOTATIONS };
  }

  async #compare(
    lower: readonly Mount[],
    upper: readonly Mount[],
    file: FileHandle,
    run: (source: DiffSource) => Promise<Diffed>,
  ): Promise<Diffed> {
    const layers = overlayLayers(lower, upper);
    if (layers !== undefined) {
      try {
        const { hasUserXattrs } = this.#options;
        return await run({ kind: 'overlay', ...layers, hasUserXattrs });
      } catch (error) {
        if (!(error instanceof TsError) || error.code !== 'TS_DIFF_NEEDS_MOUNTS') throw error;
        await file.truncate(0);
      }
    }
    if (lower.length === 0) {
      return await this.#withMounts(upper, (root) =>
        run({ kind: 'trees', lower: undefined, upper: root }),
      );
    }
    return await this.#withMounts(lower, (lowerRoot) =>
      this.#withMounts(upper, (upperRoot) =>
        run({ kind: 'trees', lower: lowerRoot, upper: upperRoot }),
      ),
    );
  }

  #withMounts<T>(mounts: readonly Mount[], body: (root: string) => Promise<T>): Promise<T> {
    return withMounts(mounts, body, this.#options.mountDirectory);
  }

  async #store(
    scope: Scope,
    file: FileHandle,
    expected: Digest,
    made: Diffed,
    options: DiffOptions,
  ): Promise<void> {
    const ref = options.ref === '' ? `diff-${randomBytes(12).toString('hex')}` : options.ref;
    const labels = new Map([...options.labels, [UNCOMPRESSED_LABEL, made.diffId]]);
    try {
      await using writer = await this.#content.writer(scope, { ref, expected });
      await writer.truncate(0);
      const block = Buffer.allocUnsafeSlow(COPY_BYTES);
      for (let position = 0; position < made.sizeBytes; ) {
        const { bytesRead } = await file.read(block, 0, block.length, position);
        if (bytesRead === 0) throw new TsError('Internal', 'internal error: layer file is short');
        await writer.write(block.subarray(0, bytesRead));
        position += bytesRead;
      }
      await writer.commit(made.sizeBytes, expected, labels);
    } catch (error) {
      if (!(error instanceof TsError) || error.kind !== 'AlreadyExists') throw error;
      this.#content.update(
        scope,
        expected,
        labels,
        [...labels.keys()].map((key) => `labels.${key}`),
      );
    }
  }
}

/** What may be written: the free space of the file system, less a reserve. */
async function limitsOf(root: string): Promise<LayerLimits> {
  const { bavail, blocks, bsize } = await statfs(root);
  const free = Math.max(0, bavail - blocks * RESERVED_FRACTION) * bsize;
  return { maxBytes: Math.floor(free), maxEntries: MAX_ENTRIES };
}
