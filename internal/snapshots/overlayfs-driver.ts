import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { chmod, chown, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { unmountAll } from '../linux/mount.ts';
import { SnapshotDirectories } from './snapshot-directories.ts';
import type { DriverSnapshot, SnapshotDriver } from './snapshot-driver.ts';
import type { Mount, SnapshotUsage } from './snapshotter.ts';
import { mountAll } from './temporary-mount.ts';
import type { WorkerPool } from './worker-pool.ts';

/** Shipped kernels' overlayfs has the option `index` when the module has the parameter. */
const INDEX_PARAMETER = '/sys/module/overlay/parameters/index';

export interface OverlayfsOptions {
  /** Whether marks are `user.overlay.*` attributes (in a user namespace). */
  readonly hasUserXattrs: boolean;
  /** Options at the end of every overlay mount. */
  readonly mountOptions: readonly string[];
}

/** The options that this machine needs. */
export function detectOverlayfsOptions(): OverlayfsOptions {
  const hasUserXattrs = isInUserNamespace();
  return {
    hasUserXattrs,
    mountOptions: [
      ...(hasUserXattrs ? ['userxattr'] : []),
      // With the index two mounts may not share an upper or work directory, not even one after the
      // other while the first is still being torn down (containerd issue 3494).
      ...(existsSync(INDEX_PARAMETER) ? ['index=off'] : []),
    ],
  };
}

function isInUserNamespace(): boolean {
  return !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
}

/**
 * Layers stacked by overlayfs, in containerd's directories: `snapshots/ID/fs` is a layer, and
 * `snapshots/ID/work` the work directory of one that can be written.
 */
export class OverlayfsDriver implements SnapshotDriver {
  readonly name = 'overlayfs';
  readonly root: string;
  readonly #directories: SnapshotDirectories;
  readonly #workers: WorkerPool;
  readonly #options: OverlayfsOptions;

  constructor(root: string, workers: WorkerPool, options: OverlayfsOptions) {
    this.root = root;
    this.#directories = new SnapshotDirectories(root, workers);
    this.#workers = workers;
    this.#options = options;
  }

  async create({ id, kind, parents }: DriverSnapshot): Promise<'made'> {
    const layer = this.#layer(id);
    try {
      await mkdir(this.#directories.path(id), { mode: 0o700 });
      await mkdir(layer, { mode: 0o755 });
      if (kind === 'active') await mkdir(this.#directories.path(id, 'work'), { mode: 0o711 });
      await this.#setRoot(layer, parents[0]);
      return 'made';
    } catch (error) {
      throw TsError.from(error, `make snapshot directory ${layer}`);
    }
  }

  async rebase({ id, parents }: DriverSnapshot): Promise<void> {
    await this.#setRoot(this.#layer(id), parents[0]);
  }

  mounts({ id, kind, parents }: DriverSnapshot): Mount[] {
    const [parent] = parents;
    // One directory alone is no overlay.
    if (parent === undefined) return [bind(this.#layer(id), kind === 'view' ? 'ro' : 'rw')];
    if (kind === 'view' && parents.length === 1) return [bind(this.#layer(parent), 'ro')];
    const writable = [
      `workdir=${this.#directories.path(id, 'work')}`,
      `upperdir=${this.#layer(id)}`,
    ];
    const lowers = parents.map((lower) => this.#layer(lower)).join(':');
    const options = [
      ...(kind === 'view' ? [] : writable),
      `lowerdir=${lowers}`,
      ...this.#options.mountOptions,
    ];
    return [{ type: 'overlay', source: 'overlay', target: '', options }];
  }

  async usage(id: bigint): Promise<SnapshotUsage> {
    return await this.#workers.run({ kind: 'usage', path: this.#layer(id) });
  }

  async remove(id: bigint): Promise<void> {
    await this.#directories.remove(id);
  }

  async ids(): Promise<bigint[]> {
    return await this.#directories.ids();
  }

  /** The upper directory's owner and mode are those of `/` in the container: the parent's. */
  async #setRoot(layer: string, parent: bigint | undefined): Promise<void> {
    const like = parent === undefined ? undefined : await stat(this.#layer(parent));
    if (like !== undefined) await chown(layer, like.uid, like.gid);
    await chmod(layer, like === undefined ? 0o755 : like.mode & 0o7777);
  }

  #layer(id: bigint): string {
    return this.#directories.path(id, 'fs');
  }
}

function bind(source: string, mode: 'ro' | 'rw'): Mount {
  return { type: 'bind', source, target: '', options: [mode, 'rbind'] };
}

/**
 * Why overlayfs cannot be used below `root`, or undefined when it can: mounts a small one. Done
 * once, at start.
 */
export function overlayfsObstacle(root: string, options: OverlayfsOptions): TsError | undefined {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  const dir = mkdtempSync(join(root, 'probe-'));
  try {
    for (const name of ['lower1', 'lower2', 'upper', 'work', 'merged']) mkdirSync(join(dir, name));
    const layers = [
      `lowerdir=${dir}/lower2:${dir}/lower1`,
      `upperdir=${dir}/upper`,
      `workdir=${dir}/work`,
    ];
    const merged = join(dir, 'merged');
    const overlay = { type: 'overlay', source: 'overlay', target: '' };
    mountAll([{ ...overlay, options: [...layers, ...options.mountOptions] }], merged);
    unmountAll(merged);
    return undefined;
  } catch (error) {
    return TsError.from(error);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
