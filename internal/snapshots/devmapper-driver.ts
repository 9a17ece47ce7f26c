import { mkdirSync } from 'node:fs';
import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';
import type { DevmapperOptions, ThinFileSystem } from './devmapper-options.ts';
import { runProgram } from './program.ts';
import type { DriverSnapshot, SnapshotDriver } from './snapshot-driver.ts';
import type { Mount, SnapshotUsage } from './snapshotter.ts';
import { withMounts } from './temporary-mount.ts';
import { type ThinDevice, ThinDevices } from './thin-devices.ts';
import { pathOf, ThinPool } from './thin-pool.ts';
import { Turns } from './turns.ts';

/**
 * Each snapshot a thin device of the device mapper with a file system on it, made as a copy of its
 * parent's. Committed ones are not active: no tool of the host sees them.
 */
export class DevmapperDriver implements SnapshotDriver {
  readonly name = 'devmapper';
  readonly root: string;
  readonly #options: DevmapperOptions;
  readonly #pool: ThinPool;
  readonly #devices: ThinDevices;
  /** A device is suspended while a copy is made of it, and numbers are given: one change at a time. */
  readonly #turns = new Turns();

  private constructor(root: string, options: DevmapperOptions, pool: ThinPool) {
    this.root = root;
    this.#options = options;
    this.#pool = pool;
    this.#devices = new ThinDevices(join(root, 'devices.db'));
  }

  /** Opens the pool that the options name; `root` is for what is known of its devices. */
  static async open(root: string, options: DevmapperOptions): Promise<DevmapperDriver> {
    const pool = new ThinPool(options.pool);
    await pool.check();
    try {
      mkdirSync(root, { recursive: true, mode: 0o700 });
    } catch (thrown) {
      throw TsError.from(thrown, `make directory ${root}`);
    }
    return new DevmapperDriver(root, options, pool);
  }

  async create({ id, parents }: DriverSnapshot): Promise<'made'> {
    const [parent] = parents;
    await this.#turns.take(async () => {
      const origin = parent === undefined ? undefined : this.#devices.get(parent);
      const { fileSystem, baseBytes } = this.#options;
      const device = await this.#make(
        await this.#devices.reserve(
          id,
          origin?.fileSystem ?? fileSystem,
          origin?.sizeBytes ?? baseBytes,
        ),
        origin,
      );
      await this.#activate(device);
      if (origin === undefined) await this.#makeFileSystem(device);
      this.#devices.setState(id, 'created');
    });
    return 'made';
  }

  async commit(id: bigint): Promise<void> {
    await this.#turns.take(async () => {
      await this.#activate(this.#devices.get(id));
      const name = this.#nameOf(id);
      // What was written before the commit is in it, also when somebody has it mounted still.
      await this.#pool.suspend(name);
      await this.#pool.resume(name);
      this.#devices.setMappedBytes(id, await this.#pool.mappedBytes(name));
      await this.#pool.deactivate(name, 'when-closed');
    });
  }

  /** Devices are not active after a boot of the machine, nor after a commit that a crash ended. */
  async mounts({ id, kind }: DriverSnapshot): Promise<Mount[]> {
    return await this.#turns.take(async () => {
      const device = this.#devices.get(id);
      await this.#activate(device);
      return [mountOf(this.#nameOf(id), device.fileSystem, kind !== 'active')];
    });
  }

  /** Of a device only the space is known, not the inodes. */
  async usage({ id, parents }: DriverSnapshot): Promise<SnapshotUsage> {
    const [parent] = parents;
    return await this.#turns.take(async () => {
      await this.#activate(this.#devices.get(id));
      const mapped = await this.#pool.mappedBytes(this.#nameOf(id));
      const shared = parent === undefined ? 0n : (this.#devices.get(parent).mappedBytes ?? 0n);
      return { sizeBytes: mapped > shared ? mapped - shared : 0n, inodes: 0n };
    });
  }

  async remove(id: bigint): Promise<void> {
    await this.#turns.take(async () => {
      const device = this.#devices.find(id);
      if (device === undefined) return; // it was never made
      if (this.#options.removesLater && device.state === 'created') {
        this.#devices.setState(id, 'removing');
        return;
      }
      const name = this.#nameOf(id);
      if (this.#options.discardsBlocks && device.state !== 'creating') {
        await this.#activate(device);
        await runProgram('blkdiscard', [pathOf(name)]);
      }
      await this.#pool.deactivate(name, 'now');
      await this.#pool.delete(device.deviceId);
      this.#devices.delete(id);
    });
  }

  async ids(): Promise<bigint[]> {
    return this.#devices.snapshotIds();
  }

  close(): void {
    this.#devices[Symbol.dispose]();
  }

  /** Makes the device of a reserved number, or of another when the pool has that one. */
  async #make(reserved: ThinDevice, origin: ThinDevice | undefined): Promise<ThinDevice> {
    // A device that is active must be still while it is copied (thin-provisioning.rst).
    const name = origin && this.#nameOf(origin.snapshotId);
    const active = name !== undefined && (await this.#pool.isActive(name)) ? name : undefined;
    if (active !== undefined) await this.#pool.suspend(active);
    try {
      let device = reserved;
      while (!(await this.#pool.make(device.deviceId, origin?.deviceId))) {
        device = await this.#devices.replaceFaulty(device);
      }
      return device;
    } finally {
      if (active !== undefined) await this.#pool.resume(active);
    }
  }

  async #activate({ snapshotId, deviceId, sizeBytes }: ThinDevice): Promise<void> {
    await this.#pool.activate(this.#nameOf(snapshotId), deviceId, sizeBytes);
  }

  async #makeFileSystem({ snapshotId, fileSystem }: ThinDevice): Promise<void> {
    const name = this.#nameOf(snapshotId);
    const { fileSystemOptions } = this.#options;
    const args = fileSystem === 'xfs' || fileSystemOptions === '' ? [] : ['-E', fileSystemOptions];
    await runProgram(`mkfs.${fileSystem}`, [...args, pathOf(name)]);
    if (fileSystem === 'xfs') return;
    // No image has it, and a layer of the snapshot must not.
    await withMounts([mountOf(name, fileSystem, false)], async (mounted) => {
      await rmdir(join(mounted, 'lost+found')).catch((thrown: unknown) => {
        if (!isErrno(thrown, 'ENOENT')) throw thrown;
      });
    });
  }

  #nameOf(id: bigint): string {
    return `${this.#options.pool}-snap-${id}`;
  }
}

function mountOf(name: string, fileSystem: ThinFileSystem, isReadOnly: boolean): Mount {
  // A copy has the UUID of its origin, which xfs refuses to mount beside it.
  const options = [...(fileSystem === 'xfs' ? ['nouuid'] : []), ...(isReadOnly ? ['ro'] : [])];
  return { type: fileSystem, source: pathOf(name), target: '', options };
}
