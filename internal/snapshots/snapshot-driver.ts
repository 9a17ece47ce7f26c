import type { Mount, SnapshotKind, SnapshotUsage } from './snapshotter.ts';

/** A snapshot as a driver knows it: a number, and those of its parents, nearest first. */
export interface DriverSnapshot {
  readonly id: bigint;
  readonly kind: SnapshotKind;
  readonly parents: readonly bigint[];
}

/**
 * Where snapshots are on disk. A driver knows directories and mounts; names, labels and namespaces
 * are the store's (snapshot-store.ts), which also sees to it that no two calls meet on one id.
 */
export interface SnapshotDriver {
  /** Plugin id: `overlayfs`. */
  readonly name: string;
  /** Directory below which all of it is. */
  readonly root: string;
  /** Makes the data of a new `active` or `view` snapshot. A failure leaves what `remove` clears. */
  create(snapshot: DriverSnapshot, signal?: AbortSignal): Promise<void>;
  /**
   * Sees to it that a snapshot made without parents is as if it had been made with those it names
   * now. A driver whose snapshots are copies of their parents has no such method.
   */
  rebase?(snapshot: DriverSnapshot): Promise<void>;
  /** How a snapshot is mounted. */
  mounts(snapshot: DriverSnapshot): Mount[];
  /** Space of the snapshot itself, without its parents. */
  usage(id: bigint): Promise<SnapshotUsage>;
  /** Deletes the data; absent data is fine. */
  remove(id: bigint): Promise<void>;
  /** Ids of all data on disk, also of what a crash left half made. */
  ids(): Promise<bigint[]>;
}
