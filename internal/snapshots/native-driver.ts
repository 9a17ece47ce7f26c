import { mkdir } from 'node:fs/promises';
import { TsError } from '../errors/index.ts';
import { SnapshotDirectories } from './snapshot-directories.ts';
import type { DriverSnapshot, SnapshotDriver } from './snapshot-driver.ts';
import type { Mount, SnapshotUsage } from './snapshotter.ts';
import type { WorkerPool } from './worker-pool.ts';

/**
 * Each snapshot a whole directory tree, `snapshots/ID`, copied from its parent: works on every file
 * system, and costs little where files share their data (reflink: btrfs, xfs).
 */
export class NativeDriver implements SnapshotDriver {
  readonly name = 'native';
  readonly root: string;
  readonly #directories: SnapshotDirectories;
  readonly #workers: WorkerPool;

  constructor(root: string, workers: WorkerPool) {
    this.root = root;
    this.#directories = new SnapshotDirectories(root, workers);
    this.#workers = workers;
  }

  async create({ id, kind, parents }: DriverSnapshot, signal?: AbortSignal): Promise<'made'> {
    const [parent] = parents;
    const path = this.#directories.path(id);
    // A view of a parent needs no copy: nobody can write to it.
    if (kind === 'view' && parent !== undefined) return 'made';
    try {
      await mkdir(path, { mode: 0o755 });
    } catch (error) {
      throw TsError.from(error, `make snapshot directory ${path}`);
    }
    if (parent === undefined) return 'made';
    const from = this.#directories.path(parent);
    await this.#workers.run({ kind: 'copy', from, to: path }, signal);
    return 'made';
  }

  mounts({ id, kind, parents }: DriverSnapshot): Mount[] {
    const [parent] = parents;
    const isShared = kind === 'view' && parent !== undefined;
    return [
      {
        type: 'bind',
        source: this.#directories.path(isShared ? parent : id),
        target: '',
        options: ['rbind', kind === 'view' ? 'ro' : 'rw'],
      },
    ];
  }

  async usage({ id }: DriverSnapshot): Promise<SnapshotUsage> {
    return await this.#workers.run({ kind: 'usage', path: this.#directories.path(id) });
  }

  async remove(id: bigint): Promise<void> {
    await this.#directories.remove(id);
  }

  async ids(): Promise<bigint[]> {
    return await this.#directories.ids();
  }
}
