/** What the worker threads of the snapshots do: all that walks or writes whole trees. */
import type { ErrorKind } from '../errors/index.ts';
import type { LayerLimits } from './layer-apply.ts';
import type { LayerTreeOptions } from './layer-tree.ts';
import type { SnapshotUsage } from './snapshotter.ts';

/** Applies the layer blob that `fd` is open on; its compression is seen from its first bytes. */
export interface ApplyJob {
  readonly kind: 'apply';
  readonly fd: number;
  readonly tree: LayerTreeOptions;
  readonly limits: LayerLimits;
  /** Whether to flush the file system of the tree to the disk. */
  readonly isSynced: boolean;
}

export interface Applied {
  /** Digest of the uncompressed archive. */
  readonly diffId: string;
  /** Size of the uncompressed archive. */
  readonly sizeBytes: number;
  /** Directories that were made without an entry of their own. */
  readonly implied: readonly string[];
}

/** Gives directories of an unpacked layer what its lower layers, known only now, have there. */
export interface AdoptJob {
  readonly kind: 'adopt';
  readonly tree: LayerTreeOptions;
  readonly implied: readonly string[];
}

/** Writes what `upper` changes over `lower` as a layer to the file that `fd` is open on. */
export interface DiffJob {
  readonly kind: 'diff';
  readonly fd: number;
  readonly source: DiffSource;
  readonly compression: 'none' | 'gzip' | 'zstd';
  /** Largest modification time in the layer (SOURCE_DATE_EPOCH). */
  readonly maxTimeNs?: bigint | undefined;
}

/** Two whole trees, or the upper directory of an overlay whose lower directories are the base. */
export type DiffSource =
  | { readonly kind: 'trees'; readonly lower: string | undefined; readonly upper: string }
  | {
      readonly kind: 'overlay';
      readonly upper: string;
      readonly lowers: readonly string[];
      readonly hasUserXattrs: boolean;
    };

export interface Diffed {
  readonly digest: string;
  readonly sizeBytes: number;
  readonly diffId: string;
}

export interface CopyJob {
  readonly kind: 'copy';
  readonly from: string;
  readonly to: string;
}

export interface RemoveJob {
  readonly kind: 'remove';
  readonly path: string;
}

export interface UsageJob {
  readonly kind: 'usage';
  readonly path: string;
  /** A tree of which `path` was made as a snapshot of the file system: only what differs counts. */
  readonly base?: string | undefined;
}

/** Changes a subvolume of btrfs (subvolume.ts). */
export interface SubvolumeJob {
  readonly kind: 'subvolume';
  readonly action: 'create' | 'open' | 'remove';
  readonly path: string;
  /** The subvolume that a new one is a copy of. */
  readonly source?: string | undefined;
  readonly isReadOnly: boolean;
}

export type Job = ApplyJob | AdoptJob | DiffJob | CopyJob | RemoveJob | UsageJob | SubvolumeJob;

export type JobResult<J extends Job> = J extends ApplyJob
  ? Applied
  : J extends DiffJob
    ? Diffed
    : J extends UsageJob
      ? SnapshotUsage
      : J extends SubvolumeJob
        ? bigint
        : undefined;

/** Daemon to worker. `cancel[0]` becomes 1 when nobody wants the result any more. */
export interface JobMessage {
  readonly job: Job;
  readonly cancel: Int32Array<SharedArrayBuffer>;
}

/** Worker to daemon: an error crosses the threads as its parts. */
export type JobAnswer =
  | { readonly result: unknown }
  | {
      readonly error: {
        readonly kind: ErrorKind;
        readonly message: string;
        readonly code: string | undefined;
        readonly advice: string | undefined;
        readonly fields: Readonly<Record<string, string | number | bigint | boolean>>;
      };
    };
