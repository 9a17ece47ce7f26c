/**
 * A check of a stopped daemon's data: the database by itself, and the database against the blobs
 * and snapshots on disk. It changes nothing.
 *
 * Records are written after the data that they name and deleted before it, so that a daemon that was
 * killed may leave data without a record, never a record without its data. The former is called a
 * leftover: the next start of the daemon or its next collection removes it. The latter is damage.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { TsError } from '../errors/index.ts';
import { ReadOnlyDatabase } from '../metadata/read-only-database.ts';
import { CONTENT_DIRECTORY } from './core.ts';
import { namesIn } from './disk-files.ts';
import { RootLock } from './root-lock.ts';

/** What a check found, a sentence each. */
export interface FsckReport {
  readonly damage: readonly string[];
  readonly leftovers: readonly string[];
  readonly checked: {
    readonly blobs: number;
    readonly snapshots: number;
    readonly images: number;
    readonly containers: number;
  };
}

export interface FsckOptions {
  /** Whether every blob is read and its digest compared. */
  readonly isDeep: boolean;
}

/** Checks what is below `root`. Throws FailedPrecondition while a daemon holds it. */
export async function checkRoot(root: string, options: FsckOptions): Promise<FsckReport> {
  const path = join(root, 'metadata.db');
  if (!existsSync(path)) {
    throw new TsError('NotFound', `check ${root}: there is no metadata.db`, {
      advice: 'name the root directory of the daemon with --root',
    });
  }
  using _lock = new RootLock(root);
  using database = new ReadOnlyDatabase(path);
  const check = new Check(root, database);
  check.database();
  await check.blobs(options.isDeep);
  check.ingests();
  check.snapshots();
  check.references();
  return check.report();
}

interface SnapshotRow {
  readonly id: bigint;
  readonly namespace: string;
  readonly snapshotter: string;
  readonly name: string;
  readonly kind: string;
  readonly parent_kind: string | null;
  readonly parent_snapshotter: string | null;
}

class Check {
  readonly #root: string;
  readonly #database: ReadOnlyDatabase;
  readonly #damage: string[] = [];
  readonly #leftovers: string[] = [];
  readonly #checked = { blobs: 0, snapshots: 0, images: 0, containers: 0 };

  constructor(root: string, database: ReadOnlyDatabase) {
    this.#root = root;
    this.#database = database;
  }

  report(): FsckReport {
    return { damage: this.#damage, leftovers: this.#leftovers, checked: this.#checked };
  }

  /** SQLite's own checks. */
  database(): void {
    for (const row of this.#database.all('PRAGMA integrity_check')) {
      if (row['integrity_check'] !== 'ok') this.#damage.push(`database: ${row['integrity_check']}`);
    }
    for (const row of this.#database.all('PRAGMA foreign_key_check')) {
      this.#damage.push(
        `database: table ${row['table']} names a row that is not in ${row['parent']}`,
      );
    }
  }

  async blobs(isDeep: boolean): Promise<void> {
    const directory = join(this.#root, CONTENT_DIRECTORY, 'blobs');
    const known = new Set<string>();
    const rows = this.#database.all<{ digest: string; size: bigint }>(
      'SELECT DISTINCT digest, size FROM content ORDER BY digest',
    );
    for (const { digest, size } of rows) {
      known.add(digest);
      this.#checked.blobs++;
      const path = join(directory, ...digest.split(':'));
      const found = sizeOf(path);
      if (found === undefined) this.#damage.push(`blob ${digest}: the file is gone`);
      else if (BigInt(found) !== size) {
        this.#damage.push(`blob ${digest}: the file has ${found} bytes, not ${size}`);
      } else if (isDeep) await this.#digest(path, digest);
    }
    for (const algorithm of namesIn(directory)) {
      for (const hex of namesIn(join(directory, algorithm))) {
        const digest = `${algorithm}:${hex}`;
        if (!known.has(digest)) this.#leftovers.push(`blob ${digest}: no record`);
      }
    }
    for (const name of namesIn(join(this.#root, CONTENT_DIRECTORY, 'trash'))) {
      this.#leftovers.push(`deleted blob trash/${name}`);
    }
  }

  async #digest(path: string, digest: string): Promise<void> {
    const [algorithm = '', hex] = digest.split(':');
    const hash = createHash(algorithm);
    await pipeline(createReadStream(path), hash);
    const found = hash.digest('hex');
    if (found !== hex) this.#damage.push(`blob ${digest}: the file has ${algorithm}:${found}`);
  }

  ingests(): void {
    const directory = join(this.#root, CONTENT_DIRECTORY, 'ingest');
    const rows = this.#database.all<{ directory: string; ref: string }>(
      'SELECT directory, ref FROM ingests',
    );
    // An ingest without data has not been written to yet.
    const known = new Set(rows.map((row) => row.directory));
    for (const name of namesIn(directory)) {
      if (!known.has(name)) this.#leftovers.push(`ingest ${name}: no record`);
    }
  }

  snapshots(): void {
    const rows = this.#database.all<SnapshotRow>(
      `SELECT s.id, s.namespace, s.snapshotter, s.name, s.kind,
         p.kind AS parent_kind, p.snapshotter AS parent_snapshotter
       FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent_id ORDER BY s.id`,
    );
    for (const row of rows) {
      this.#checked.snapshots++;
      const what = `snapshot ${row.name} of ${row.snapshotter} in namespace ${row.namespace}`;
      if (row.parent_kind !== null && row.parent_kind !== 'committed') {
        this.#damage.push(`${what}: its parent is ${row.parent_kind}, not committed`);
      }
      if (row.parent_snapshotter !== null && row.parent_snapshotter !== row.snapshotter) {
        this.#damage.push(`${what}: its parent is of ${row.parent_snapshotter}`);
      }
      const directory = this.#snapshots(row.snapshotter);
      // Of snapshotters that keep their data elsewhere (devices, other processes) there is none.
      if (existsSync(directory) && !existsSync(join(directory, String(row.id)))) {
        this.#damage.push(`${what}: its directory ${row.id} is gone`);
      }
    }
    for (const plugin of namesIn(this.#root).filter((name) => name.startsWith(SNAPSHOTTER))) {
      const snapshotter = plugin.slice(SNAPSHOTTER.length);
      const ids = new Set(
        rows.filter((row) => row.snapshotter === snapshotter).map(({ id }) => String(id)),
      );
      for (const name of namesIn(this.#snapshots(snapshotter))) {
        if (!ids.has(name)) this.#leftovers.push(`snapshot directory ${plugin}/${name}: no record`);
      }
    }
  }

  #snapshots(snapshotter: string): string {
    return join(this.#root, `${SNAPSHOTTER}${snapshotter}`, 'snapshots');
  }

  /** Images whose manifest is not there. Containers may outlive their snapshots: clients do so. */
  references(): void {
    const images = this.#database.all<{
      namespace: string;
      name: string;
      digest: string;
      has: bigint;
    }>(
      `SELECT namespace, name, digest, EXISTS (
         SELECT 1 FROM content c WHERE c.namespace = images.namespace AND c.digest = images.digest
       ) AS has FROM images ORDER BY namespace, name`,
    );
    for (const { namespace, name, digest, has } of images) {
      this.#checked.images++;
      if (has === 0n) {
        this.#damage.push(`image ${name} in namespace ${namespace}: its content ${digest} is gone`);
      }
    }
    const [count] = this.#database.all<{ n: bigint }>('SELECT count(*) AS n FROM containers');
    this.#checked.containers = Number(count?.n ?? 0n);
  }
}

const SNAPSHOTTER = 'io.containerd.snapshotter.v1.';

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

/** The report as lines for a person. */
export function reportText({ damage, leftovers, checked }: FsckReport): string {
  const lines = [
    ...damage.map((line) => `damage: ${line}`),
    ...leftovers.map((line) => `leftover: ${line}`),
    `${checked.blobs} blobs, ${checked.snapshots} snapshots, ${checked.images} images, ${checked.containers} containers: ` +
      (damage.length === 0 ? 'consistent' : `${damage.length} damaged`) +
      (leftovers.length === 0 ? '' : `, ${leftovers.length} leftovers that the daemon removes`),
  ];
  return lines.map((line) => `${line}\n`).join('');
}
