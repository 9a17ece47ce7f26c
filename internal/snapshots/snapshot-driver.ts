import type { Labels } from '../metadata/scope.ts';
import type { Mount, SnapshotKind, SnapshotUsage } from './snapshotter.ts';

/** A snapshot as a driver knows it: a number, and those of its parents, nearest first. */
export interface DriverSnapshot {
  readonly id: bigint;
  readonly kind: SnapshotKind;
  readonly parents: readonly bigint[];
  readonly labels?: Labels;
}

/** Label with the name that an active snapshot will be committed under. */
export const SNAPSHOT_REF = 'containerd.io/snapshot.ref';

/**
 * Where snapshots are on disk. A driver knows directories and mounts; names, labels and namespaces
 * are the store's (snapshot-store.ts), which also sees to it that no two calls meet on one id.
 */
export interface SnapshotDriver {
  /** Plugin id: `overlayfs`. */
  readonly name: string;
  /** Directory below which all of it is. */
  readonly root: string;
  /** Whether it may have layers without being given them. */
  readonly isRemote?: boolean;
  /**
   * Makes the data of a new `active` or `view` snapshot. A failure leaves what `remove` clears. It
   * may answer that the snapshot is complete and committed already.
   */
  create(snapshot: DriverSnapshot, signal?: AbortSignal): Promise<'made' | 'committed'>;
  /** Told before an active snapshot becomes a committed one. */
  commit?(id: bigint, labels: Labels): Promise<void>;
  /**
   * Sees to it that a snapshot made without parents is as if it had been made with those it names
   * now. A driver whose snapshots are copies of their parents has no such method.
   */
  rebase?(snapshot: DriverSnapshot): Promise<void>;
  /** How a snapshot is mounted. */
  mounts(snapshot: DriverSnapshot): Mount[] | Promise<Mount[]>;
  /** Space of the snapshot itself, without its parents. */
  usage(snapshot: DriverSnapshot): Promise<SnapshotUsage>;
  /** Deletes the data; absent data is fine. */
  remove(id: bigint): Promise<void>;
  /** Ids of all data, in an order in which they can be removed, also of what a crash left half made. */
  ids(): Promise<bigint[]>;
  /** Lets go of what it holds, after the last call. */
  close?(): void;
}
