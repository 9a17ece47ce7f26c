import { mkdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { mountOfRoot } from './root-mount.ts';
import type { DriverSnapshot, SnapshotDriver } from './snapshot-driver.ts';
import type { Mount, SnapshotUsage } from './snapshotter.ts';
import type { WorkerPool } from './worker-pool.ts';

/**
 * Each snapshot a subvolume of btrfs, `subvolumes/ID`, made from its parent's, which costs the same
 * whatever its size. Committed ones and views are read-only.
 */
export class BtrfsDriver implements SnapshotDriver {
  readonly name = 'btrfs';
  readonly root: string;
  readonly #device: string;
  readonly #directory: string;
  readonly #workers: WorkerPool;

  /** `device` is what the file system below `root` is on. */
  constructor(root: string, device: string, workers: WorkerPool) {
    this.root = root;
    this.#device = device;
    this.#directory = join(root, 'subvolumes');
    this.#workers = workers;
    try {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    } catch (thrown) {
      throw TsError.from(thrown, `make directory ${this.#directory}`);
    }
  }

  async create({ id, kind, parents }: DriverSnapshot, signal?: AbortSignal): Promise<'made'> {
    const [parent] = parents;
    const source = parent === undefined ? undefined : this.#path(parent);
    await this.#subvolume('create', id, kind === 'view', source, signal);
    return 'made';
  }

  async commit(id: bigint): Promise<void> {
    await this.#subvolume('open', id, true);
  }

  /** Makes an active snapshot writable again that a daemon died over while it was being committed. */
  async mounts({ id, kind }: DriverSnapshot): Promise<Mount[]> {
    const isReadOnly = kind !== 'active';
    const number = await this.#subvolume('open', id, isReadOnly);
    const options = [`subvolid=${number}`, ...(isReadOnly ? ['ro'] : [])];
    return [{ type: 'btrfs', source: this.#device, target: '', options }];
  }

  async usage({ id, parents }: DriverSnapshot): Promise<SnapshotUsage> {
    const [parent] = parents;
    const base = parent === undefined ? undefined : this.#path(parent);
    return await this.#workers.run({ kind: 'usage', path: this.#path(id), base });
  }

  async remove(id: bigint): Promise<void> {
    await this.#subvolume('remove', id, false);
  }

  async ids(): Promise<bigint[]> {
    const names = await readdir(this.#directory);
    return names.filter((name) => /^[1-9][0-9]*$/.test(name)).map(BigInt);
  }

  async #subvolume(
    action: 'create' | 'open' | 'remove',
    id: bigint,
    isReadOnly: boolean,
    source?: string,
    signal?: AbortSignal,
  ): Promise<bigint> {
    const path = this.#path(id);
    return await this.#workers.run({ kind: 'subvolume', action, path, source, isReadOnly }, signal);
  }

  #path(id: bigint): string {
    return join(this.#directory, String(id));
  }
}

/** The device of the btrfs that holds `root`. Throws Unknown, as containerd, where that is another file system. */
export function btrfsDevice(root: string): string {
  const { type, source } = mountOfRoot(root);
  if (type === 'btrfs') return source;
  throw new TsError(
    'Unknown',
    `path ${root} (${type}) must be a btrfs filesystem to be used with the btrfs snapshotter: skip plugin`,
  );
}
