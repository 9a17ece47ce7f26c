import type { Descriptor } from '../images/image-store.ts';
import type { Labels, Scope, TimeNs } from '../metadata/scope.ts';
import type { Mount } from './snapshotter.ts';

export interface ApplyOptions {
  /** Whether to flush the file system to the disk before the promise resolves. */
  readonly isSynced?: boolean;
}

export interface DiffOptions {
  /** Media type of the layer; '' is a gzip layer of OCI. */
  readonly mediaType: string;
  /** Name of the ingest; '' for one that is made up. */
  readonly ref: string;
  readonly labels: Labels;
  /** Latest time of a file in the layer. */
  readonly sourceDateEpoch: TimeNs | undefined;
}

/** Turns layers into snapshots and back. */
export interface Differ {
  /**
   * Applies the layer blob `layer` to what `mounts` describe, without mounting it where its
   * directory can be written directly. Returns the descriptor of the uncompressed layer, whose
   * digest is the diff ID. A blob that is no layer is InvalidArgument, a damaged one DataLoss.
   */
  apply(
    scope: Scope,
    layer: Descriptor,
    mounts: readonly Mount[],
    options?: ApplyOptions,
  ): Promise<Descriptor>;
  /** Stores what `upper` changes over `lower` as a layer and returns its descriptor. */
  diff(
    scope: Scope,
    lower: readonly Mount[],
    upper: readonly Mount[],
    options: DiffOptions,
  ): Promise<Descriptor>;
}
