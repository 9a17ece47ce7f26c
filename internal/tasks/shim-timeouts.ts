/** How long shims may take; `[timeouts]` of the configuration. */
export interface ShimTimeouts {
  /** To accept a connection, and to tell the state of a task of an earlier daemon. */
  readonly loadMs: number;
  /** For `delete`: it kills the container, whose processes may be slow to die. */
  readonly cleanupMs: number;
  /** To say that there are no more tasks, and then to end. */
  readonly shutdownMs: number;
}

/** Containerd's. */
export const SHIM_TIMEOUTS: ShimTimeouts = { loadMs: 5000, cleanupMs: 5000, shutdownMs: 3000 };
