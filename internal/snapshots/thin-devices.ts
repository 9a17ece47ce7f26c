import { TsError } from '../errors/index.ts';
import { Database } from '../metadata/database.ts';
import type { ThinFileSystem } from './devmapper-options.ts';

/**
 * `creating` and `removing` are written before the pool is told, so that a crash at any point leaves
 * no device of which nothing is known.
 */
export type ThinState = 'creating' | 'created' | 'removing';

/** A thin device of the pool. */
export interface ThinDevice {
  readonly snapshotId: bigint;
  /** Its number in the pool. */
  readonly deviceId: number;
  readonly state: ThinState;
  readonly fileSystem: ThinFileSystem;
  readonly sizeBytes: bigint;
  /** Space that it and what it was made from take, as it was at its commit. */
  readonly mappedBytes: bigint | undefined;
}

interface Row {
  readonly snapshot_id: bigint;
  readonly device_id: bigint;
  readonly state: ThinState;
  readonly file_system: ThinFileSystem;
  readonly size_bytes: bigint;
  readonly mapped_bytes: bigint | null;
}

const MIGRATIONS = [
  `
  CREATE TABLE devices (
    snapshot_id INTEGER PRIMARY KEY,
    device_id INTEGER NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('creating', 'created', 'removing')),
    file_system TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    mapped_bytes INTEGER
  ) STRICT;

  -- Numbers that the pool has a device for which is not ours: they are never used.
  CREATE TABLE faulty (device_id INTEGER PRIMARY KEY) STRICT;
  `,
];

/** A pool's numbers have 24 bits (kernel admin-guide/device-mapper/thin-provisioning). */
const LAST_DEVICE_ID = 0xff_ff_ff;

/** Which thin device is which snapshot: the pool knows its devices by numbers alone, and lists none. */
export class ThinDevices implements Disposable {
  readonly #database: Database;

  /** `path` is a database of its own, beside the pool that it is about. */
  constructor(path: string) {
    this.#database = new Database(path, MIGRATIONS);
  }

  /** Throws NotFound. */
  get(snapshotId: bigint): ThinDevice {
    const device = this.find(snapshotId);
    if (device === undefined) {
      throw new TsError('NotFound', `thin device of snapshot ${snapshotId}: not found`);
    }
    return device;
  }

  find(snapshotId: bigint): ThinDevice | undefined {
    const row = this.#database.get<Row>('SELECT * FROM devices WHERE snapshot_id = ?', snapshotId);
    return row && deviceOf(row);
  }

  snapshotIds(): bigint[] {
    return this.#database
      .all<Row>('SELECT * FROM devices ORDER BY snapshot_id DESC')
      .map((row) => row.snapshot_id);
  }

  /** Reserves a number for a snapshot, and sees to it that it outlasts a power cut. */
  async reserve(
    snapshotId: bigint,
    fileSystem: ThinFileSystem,
    sizeBytes: bigint,
  ): Promise<ThinDevice> {
    this.#database.transaction(() => {
      this.#database.run(
        `INSERT INTO devices (snapshot_id, device_id, state, file_system, size_bytes)
         VALUES (?, ?, 'creating', ?, ?)`,
        snapshotId,
        this.#freeId(),
        fileSystem,
        sizeBytes,
      );
    });
    await this.#database.sync();
    return this.get(snapshotId);
  }

  /** Gives a snapshot another number: the pool has a device of its own with this one. */
  async replaceFaulty({ snapshotId, deviceId }: ThinDevice): Promise<ThinDevice> {
    this.#database.transaction(() => {
      this.#database.run('INSERT OR IGNORE INTO faulty VALUES (?)', deviceId);
      this.#database.run(
        'UPDATE devices SET device_id = ? WHERE snapshot_id = ?',
        this.#freeId(),
        snapshotId,
      );
    });
    await this.#database.sync();
    return this.get(snapshotId);
  }

  setState(snapshotId: bigint, state: ThinState): void {
    const sql = 'UPDATE devices SET state = ? WHERE snapshot_id = ?';
    this.#database.run(sql, state, snapshotId);
  }

  setMappedBytes(snapshotId: bigint, mappedBytes: bigint): void {
    const sql = 'UPDATE devices SET mapped_bytes = ? WHERE snapshot_id = ?';
    this.#database.run(sql, mappedBytes, snapshotId);
  }

  delete(snapshotId: bigint): void {
    this.#database.run('DELETE FROM devices WHERE snapshot_id = ?', snapshotId);
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  /** The number after the highest; when there is none, the first gap. */
  #freeId(): number {
    const used = 'SELECT device_id FROM devices UNION SELECT device_id FROM faulty';
    const last = this.#database.get<{ id: bigint | null }>(
      `SELECT max(device_id) AS id FROM (${used})`,
    );
    const next = Number(last?.id ?? 0n) + 1;
    if (next <= LAST_DEVICE_ID) return next;
    const gap = this.#database.get<{ id: bigint }>(
      `WITH used AS (SELECT 0 AS device_id UNION ${used})
       SELECT device_id + 1 AS id FROM used
       WHERE device_id + 1 NOT IN used AND device_id < ${LAST_DEVICE_ID} LIMIT 1`,
    );
    if (gap !== undefined) return Number(gap.id);
    throw new TsError('ResourceExhausted', 'the thin pool has no number for another device');
  }
}

function deviceOf(row: Row): ThinDevice {
  return {
    snapshotId: row.snapshot_id,
    deviceId: Number(row.device_id),
    state: row.state,
    fileSystem: row.file_system,
    sizeBytes: row.size_bytes,
    mappedBytes: row.mapped_bytes ?? undefined,
  };
}
