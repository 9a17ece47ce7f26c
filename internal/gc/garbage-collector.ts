/** What one run of the collector removed. */
export interface Collection {
  readonly durationMs: number;
  readonly removed: {
    readonly content: number;
    readonly snapshots: number;
    readonly ingests: number;
    readonly leases: number;
    readonly images: number;
  };
}

/** Deletes from disk what a run left without a record. */
export interface Cleaner {
  readonly name: string;
  clean(): Promise<void>;
}

/**
 * Removes what no lease, image, container or `containerd.io/gc.*` label keeps. Marking and the
 * deletion of records are one transaction; the disk is cleaned afterwards.
 */
export interface GarbageCollector {
  /** Asks for a run soon; many calls make one run. Called after each deletion. */
  schedule(): void;
  /** Runs now, or once more after a run that has already begun, and waits for the disk. */
  collect(): Promise<Collection>;
  /** Adds something to call at the end of each run. */
  addCleaner(cleaner: Cleaner): void;
}
