import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { unmountAll } from '../linux/mount.ts';
import type { Labels } from '../metadata/scope.ts';
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

/** The options that the configuration asks for, and after them those that this machine needs. */
export function detectOverlayfsOptions(asked: readonly string[] = []): OverlayfsOptions {
  const hasUserXattrs = asked.includes('userxattr') || isInUserNamespace();
  const hasIndex = asked.some((option) => option.startsWith('index='));
  return {
    hasUserXattrs,
    mountOptions: [
      ...asked,
      ...(hasUserXattrs && !asked.includes('userxattr') ? ['userxattr'] : []),
      // With the index two mounts may not share an upper or work directory, not even one after the
      // other while the first is still being torn down (containerd issue 3494).
      ...(!hasIndex && existsSync(INDEX_PARAMETER) ? ['index=off'] : []),
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

  async create({ id, kind, parents, labels }: DriverSnapshot): Promise<'made'> {
    const layer = this.#layer(id);
    const remap = remapOf(labels);
    try {
      // Synchronous: each takes microseconds, and a tenth of a millisecond by way of a thread.
      mkdirSync(this.#directories.path(id), { mode: 0o700 });
      mkdirSync(layer, { mode: 0o755 });
      if (kind === 'active') mkdirSync(this.#directories.path(id, 'work'), { mode: 0o711 });
      this.#setRoot(layer, parents[0], remap);
      return 'made';
    } catch (error) {
      throw TsError.from(error, `make snapshot directory ${layer}`);
    }
  }

  async rebase({ id, parents }: DriverSnapshot): Promise<void> {
    this.#setRoot(this.#layer(id), parents[0]);
  }

  mounts({ id, kind, parents, labels }: DriverSnapshot): Mount[] {
    const [parent] = parents;
    const remap = remapOf(labels);
    // One directory alone is no overlay.
    if (parent === undefined) return [bind(this.#layer(id), kind === 'view' ? 'ro' : 'rw')];
    if (kind === 'view' && parents.length === 1 && remap === undefined) {
      return [bind(this.#layer(parent), 'ro')];
    }
    const writable = [
      `workdir=${this.#directories.path(id, 'work')}`,
      `upperdir=${this.#layer(id)}`,
    ];
    const lowers = parents.map((lower) => this.#layer(lower)).join(':');
    const options = [
      ...(kind === 'view' ? [] : writable),
      `lowerdir=${lowers}`,
      ...this.#options.mountOptions,
      // For whoever mounts it, not for the kernel.
      ...(remap === undefined ? [] : [`uidmap=${remap.uids}`, `gidmap=${remap.gids}`]),
    ];
    return [{ type: 'overlay', source: 'overlay', target: '', options }];
  }

  async usage({ id }: DriverSnapshot): Promise<SnapshotUsage> {
    return await this.#workers.run({ kind: 'usage', path: this.#layer(id) });
  }

  async remove(id: bigint): Promise<void> {
    await this.#directories.remove(id);
  }

  async ids(): Promise<bigint[]> {
    return await this.#directories.ids();
  }

  /** The upper directory's owner and mode are those of `/` in the container: the parent's. */
  #setRoot(layer: string, parent: bigint | undefined, remap?: Remap): void {
    const like = parent === undefined ? undefined : statSync(this.#layer(parent));
    if (remap !== undefined) {
      chownSync(layer, outside(remap.uids, like?.uid ?? 0), outside(remap.gids, like?.gid ?? 0));
    } else if (like !== undefined) chownSync(layer, like.uid, like.gid);
    chmodSync(layer, like === undefined ? 0o755 : like.mode & 0o7777);
  }

  #layer(id: bigint): string {
    return this.#directories.path(id, 'fs');
  }
}

/** Labels by which a client asks for a snapshot whose owners are other ids, `INSIDE:OUTSIDE:COUNT` (containerd's names). */
export const UID_MAPPING_LABEL = 'containerd.io/snapshot/uidmapping';
export const GID_MAPPING_LABEL = 'containerd.io/snapshot/gidmapping';

interface Remap {
  readonly uids: string;
  readonly gids: string;
}

/** The mappings that a snapshot is to have. Throws InvalidArgument when they are no mappings. */
function remapOf(labels: Labels | undefined): Remap | undefined {
  const [uids, gids] = [labels?.get(UID_MAPPING_LABEL), labels?.get(GID_MAPPING_LABEL)];
  if (uids === undefined && gids === undefined) return undefined;
  return { uids: checked(UID_MAPPING_LABEL, uids), gids: checked(GID_MAPPING_LABEL, gids) };
}

function checked(label: string, value = ''): string {
  if (/^\d+:\d+:\d+(,\d+:\d+:\d+)*$/.test(value)) return value;
  throw new TsError('InvalidArgument', `label ${label}=${value}: not INSIDE:OUTSIDE:COUNT`);
}

/** The id outside for one inside; one that is not mapped belongs to the first id of the mapping. */
function outside(mapping: string, id: number): number {
  const ranges = mapping.split(',').map((range) => range.split(':').map(Number));
  for (const [inside = 0, from = 0, count = 0] of ranges) {
    if (id >= inside && id < inside + count) return from + id - inside;
  }
  return ranges[0]?.[1] ?? 0;
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
    const mountWith = (...more: string[]): void =>
      mountAll([{ ...overlay, options: [...layers, ...options.mountOptions, ...more] }], merged);
    try {
      // Else the unmount syncs the whole file system below: 10 ms, or seconds while others write to it.
      mountWith('volatile');
    } catch {
      mountWith(); // a kernel before 5.10 does not know it; what else is wrong is told by this one
    }
    unmountAll(merged);
    return undefined;
  } catch (error) {
    return TsError.from(error);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
