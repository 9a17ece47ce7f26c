import { join } from 'node:path';
import { TsError } from '../../errors/index.ts';
import { BtrfsDriver, btrfsDevice } from '../../snapshots/btrfs-driver.ts';
import { DevmapperDriver } from '../../snapshots/devmapper-driver.ts';
import { NativeDriver } from '../../snapshots/native-driver.ts';
import {
  OverlayfsDriver,
  type OverlayfsOptions,
  overlayfsObstacle,
} from '../../snapshots/overlayfs-driver.ts';
import type { SnapshotDriver } from '../../snapshots/snapshot-driver.ts';
import type { WorkerPool } from '../../snapshots/worker-pool.ts';
import { ZfsDriver, zfsDataset } from '../../snapshots/zfs-driver.ts';
import type { Core } from '../core.ts';
import { devmapperOptions } from './devmapper-settings.ts';

/** Type of the plugins of snapshotters. */
export const SNAPSHOTTER = 'io.containerd.snapshotter.v1';

/** The snapshotters that this machine can use, and why it cannot use the others. */
export interface Drivers {
  readonly drivers: readonly SnapshotDriver[];
  readonly obstacles: ReadonlyMap<string, TsError>;
}

/** Tries all snapshotters of this program. */
export async function openDrivers(
  core: Core,
  workers: WorkerPool,
  overlayfs: OverlayfsOptions,
): Promise<Drivers> {
  const { config, log } = core;
  const rootOf = (id: 'overlayfs' | 'native' | 'btrfs' | 'devmapper' | 'zfs'): string =>
    config.plugins[`${SNAPSHOTTER}.${id}`].root_path || join(config.root, `${SNAPSHOTTER}.${id}`);
  const openers: Readonly<Record<string, () => SnapshotDriver | Promise<SnapshotDriver>>> = {
    overlayfs: () => {
      const root = rootOf('overlayfs');
      const obstacle = overlayfsObstacle(root, overlayfs);
      if (obstacle !== undefined) throw obstacle;
      return new OverlayfsDriver(root, workers, overlayfs);
    },
    native: () => new NativeDriver(rootOf('native'), workers),
    btrfs: () => {
      const root = rootOf('btrfs');
      return new BtrfsDriver(root, btrfsDevice(root), workers);
    },
    devmapper: async () => {
      const options = devmapperOptions(config.plugins[`${SNAPSHOTTER}.devmapper`]);
      return await DevmapperDriver.open(rootOf('devmapper'), options);
    },
    zfs: () => {
      const root = rootOf('zfs');
      return new ZfsDriver(root, zfsDataset(root));
    },
  };
  const drivers: SnapshotDriver[] = [];
  const obstacles = new Map<string, TsError>();
  for (const [id, open] of Object.entries(openers)) {
    try {
      drivers.push(await open());
    } catch (thrown) {
      const error = TsError.from(thrown);
      obstacles.set(id, error);
      const text = `snapshotter ${id} cannot be used`;
      // As with containerd: what a machine merely lacks is no fault of anyone, and needs no stack.
      if (isSkipped(error)) log.info({ error: error.message }, text);
      else log.warn({ error }, text);
    }
  }
  return { drivers, obstacles };
}

/** Whether a plugin is not there since the machine or the configuration has nothing for it. */
function isSkipped(error: TsError): boolean {
  return error.message.endsWith('skip plugin');
}
