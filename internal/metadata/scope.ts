/**
 * On whose behalf an operation runs: a tenant of the daemon (containerd's namespace, not a Linux
 * one) and, where the caller holds one, the lease that keeps what the operation makes.
 */
export interface Scope {
  readonly namespace: string;
  /** Id of the lease that new content, ingests and snapshots are added to. */
  readonly lease?: string | undefined;
  /** Aborted when the caller is gone: long operations stop and clean up. */
  readonly signal?: AbortSignal | undefined;
}

/** Labels of a record. A map, so that no label from outside becomes a property name. */
export type Labels = ReadonlyMap<string, string>;

/** Wall-clock time in nanoseconds since the epoch. */
export type TimeNs = bigint;
