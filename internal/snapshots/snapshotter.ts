import type { Labels, Scope, TimeNs } from '../metadata/scope.ts';

/** A mount as containerd.types.Mount: type, source, options in mount(8)'s words. */
export interface Mount {
  readonly type: string;
  readonly source: string;
  readonly target: string;
  readonly options: readonly string[];
}

export type SnapshotKind = 'view' | 'active' | 'committed';

export interface SnapshotInfo {
  readonly name: string;
  /** Name of the parent, or ''. */
  readonly parent: string;
  readonly kind: SnapshotKind;
  readonly createdAt: TimeNs;
  readonly updatedAt: TimeNs;
  readonly labels: Labels;
}

export interface SnapshotUsage {
  readonly sizeBytes: bigint;
  readonly inodes: bigint;
}

/**
 * Layered file systems by key, per namespace: `prepare` a writable child of a committed parent,
 * `commit` it under a name. One contract suite runs over every implementation.
 */
export interface Snapshotter {
  /** Plugin id: `overlayfs`, `native`, … */
  readonly name: string;
  /** Whether it may have layers without being given them: then it is asked before they are fetched. */
  readonly isRemote: boolean;
  /** Whether `rebase` works: the data of a snapshot does not depend on its parent. */
  readonly canRebase: boolean;
  stat(scope: Scope, key: string): SnapshotInfo;
  update(scope: Scope, key: string, labels: Labels, fieldPaths: readonly string[]): SnapshotInfo;
  usage(scope: Scope, key: string): Promise<SnapshotUsage>;
  mounts(scope: Scope, key: string): Promise<Mount[]>;
  prepare(scope: Scope, key: string, parent: string, labels: Labels): Promise<Mount[]>;
  view(scope: Scope, key: string, parent: string, labels: Labels): Promise<Mount[]>;
  /**
   * Gives an active snapshot that was prepared without a parent one, and returns its mounts. With it
   * the layers of an image can be unpacked side by side. NotImplemented unless `canRebase`.
   */
  rebase(scope: Scope, key: string, parent: string): Promise<Mount[]>;
  commit(scope: Scope, name: string, key: string, labels: Labels): Promise<void>;
  /** Refused with FailedPrecondition while the snapshot has children. */
  remove(scope: Scope, key: string): Promise<void>;
  list(scope: Scope, filters?: readonly string[]): SnapshotInfo[];
  /** Deletes from disk what no record refers to. */
  cleanup(scope: Scope): Promise<void>;
}
