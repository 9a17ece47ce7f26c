import type { Descriptor } from '../images/image-store.ts';
import type { Labels, Scope, TimeNs } from '../metadata/scope.ts';
import type { Mount } from './snapshotter.ts';
import type { ProcessorPayloads } from './stream-processors.ts';

export interface ApplyOptions {
  /** Whether to flush the file system to the disk before the promise resolves. */
  readonly isSynced?: boolean;
  /** What the client gives to stream processors. */
  readonly payloads?: ProcessorPayloads;
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

/** Code of the error that says that a layer must be unpacked onto its lower ones. */
export const NEEDS_LOWER = 'TS_LAYER_NEEDS_LOWER';

/** A layer that was applied without knowing what is below it. */
export interface DetachedLayer {
  /** The uncompressed layer. */
  readonly descriptor: Descriptor;
  /** What `attach` has to look after. */
  readonly implied: readonly string[];
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
  /**
   * Applies a layer to the mounts of a snapshot that has no parent yet and will be the upper part of
   * an overlay; `attach` completes it.
   */
  applyDetached(scope: Scope, layer: Descriptor, mounts: readonly Mount[]): Promise<DetachedLayer>;
  /**
   * Completes a detached layer once `mounts` has its parents. FailedPrecondition with the code
   * NEEDS_LOWER when the layer must be applied anew, onto them.
   */
  attach(scope: Scope, layer: DetachedLayer, mounts: readonly Mount[]): Promise<void>;
  /** Stores what `upper` changes over `lower` as a layer and returns its descriptor. */
  diff(
    scope: Scope,
    lower: readonly Mount[],
    upper: readonly Mount[],
    options: DiffOptions,
  ): Promise<Descriptor>;
}
