import { TsError } from '../errors/index.ts';
import { runProgram, saidOnStderr } from './program.ts';

const SECTOR_BYTES = 512n;

/** A thin pool of the device mapper, by the command line of dmsetup(8). */
export class ThinPool {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  /** Throws where there is no dmsetup, no device of this name, or one that is no thin pool. */
  async check(): Promise<void> {
    const target = (await dmsetup('status', this.name)).split(' ')[2];
    if (target === 'thin-pool') return;
    throw new TsError('InvalidArgument', `devmapper: ${this.name} is a ${target}, not a thin-pool`);
  }

  /** Makes an empty device, or with `origin` a copy of another. False when the pool has this number. */
  async make(deviceId: number, origin?: number): Promise<boolean> {
    const message =
      origin === undefined ? `create_thin ${deviceId}` : `create_snap ${deviceId} ${origin}`;
    try {
      await dmsetup('message', this.name, '0', message);
      return true;
    } catch (thrown) {
      if (saidOnStderr(thrown, /File exists/)) return false;
      throw thrown;
    }
  }

  /** Deletes a device, which must not be active; one that is not there is fine. */
  async delete(deviceId: number): Promise<void> {
    try {
      await dmsetup('message', this.name, '0', `delete ${deviceId}`);
    } catch (thrown) {
      if (!saidOnStderr(thrown, /No data available/)) throw thrown;
    }
  }

  /** Makes `/dev/mapper/NAME`, unless it is there. */
  async activate(name: string, deviceId: number, sizeBytes: bigint): Promise<void> {
    if (await this.isActive(name)) return;
    const table = `0 ${sizeBytes / SECTOR_BYTES} thin ${pathOf(this.name)} ${deviceId}`;
    await dmsetup('create', name, '--table', table);
  }

  /**
   * Takes `/dev/mapper/NAME` away, unless it is not there: at once, which an open device refuses, or
   * when the last who has it open has closed it.
   */
  async deactivate(name: string, when: 'now' | 'when-closed'): Promise<void> {
    try {
      await dmsetup('remove', when === 'now' ? '--retry' : '--deferred', name);
    } catch (thrown) {
      if (!saidOnStderr(thrown, ABSENT)) throw thrown;
    }
  }

  async isActive(name: string): Promise<boolean> {
    try {
      await dmsetup('status', name);
      return true;
    } catch (thrown) {
      if (saidOnStderr(thrown, ABSENT)) return false;
      throw thrown;
    }
  }

  /** Space that an active device takes in the pool, with what it shares with others. */
  async mappedBytes(name: string): Promise<bigint> {
    const status = await dmsetup('status', name);
    const sectors = /^\d+ \d+ thin (\d+)/.exec(status)?.[1];
    if (sectors !== undefined) return BigInt(sectors) * SECTOR_BYTES;
    throw new TsError('Unknown', `dmsetup status ${name}: not that of a thin device: ${status}`);
  }

  /** Writes all to the device that is on its way, and holds up what comes until `resume`. */
  async suspend(name: string): Promise<void> {
    await dmsetup('suspend', name);
  }

  async resume(name: string): Promise<void> {
    await dmsetup('resume', name);
  }
}

/** What dmsetup says of a device that is not active. */
const ABSENT = /does not exist|not found|No such device/;

/** The device file of a name. */
export function pathOf(name: string): string {
  return `/dev/mapper/${name}`;
}

async function dmsetup(...args: readonly string[]): Promise<string> {
  return await runProgram('dmsetup', args);
}
