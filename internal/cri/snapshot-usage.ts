import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { DaemonServices } from './daemon-services.ts';

/** What a snapshot's own files take; `atNs` is when that was found out. */
export interface SnapshotUsage {
  readonly bytes: bigint;
  readonly inodes: bigint;
  readonly atNs: bigint;
}

/**
 * What writable layers take. To know it, a snapshotter looks at every file: so each answer is good for a while, as
 * kubelets ask every ten seconds.
 */
export class SnapshotUsages {
  readonly #snapshots: DaemonServices['snapshots'];
  readonly #periodNs: bigint;
  readonly #known = new Map<string, SnapshotUsage>();
  readonly #running = new Map<string, Promise<SnapshotUsage | undefined>>();

  constructor(snapshots: DaemonServices['snapshots'], periodMs: number) {
    this.#snapshots = snapshots;
    this.#periodNs = BigInt(periodMs) * 1_000_000n;
  }

  /** Undefined when there is no such snapshot. */
  async get(snapshotter: string, key: string): Promise<SnapshotUsage | undefined> {
    const id = `${snapshotter}/${key}`;
    const known = this.#known.get(id);
    if (known !== undefined && nowNs() - known.atNs < this.#periodNs) return known;
    const running = this.#running.get(id) ?? this.#measure(id, snapshotter, key);
    this.#running.set(id, running);
    return await running;
  }

  async #measure(id: string, snapshotter: string, key: string): Promise<SnapshotUsage | undefined> {
    try {
      const { size: bytes, inodes } = await this.#snapshots.usage({ snapshotter, key });
      const usage = { bytes, inodes, atNs: nowNs() };
      this.#known.set(id, usage);
      return usage;
    } catch (thrown) {
      if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
      this.#known.delete(id);
      return undefined;
    } finally {
      this.#running.delete(id);
    }
  }
}
