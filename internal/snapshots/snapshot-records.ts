import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { Database } from '../metadata/database.ts';
import { compileFilters, lookUpMap, present } from '../metadata/filters.ts';
import { decodeMap, encodeLabels } from '../metadata/labels.ts';
import { ensureNamespace } from '../metadata/namespace-store.ts';
import type { Labels, Scope } from '../metadata/scope.ts';
import type { SnapshotInfo, SnapshotKind, SnapshotUsage } from './snapshotter.ts';

interface SnapshotRow {
  readonly id: bigint;
  readonly name: string;
  readonly parent_id: bigint | null;
  readonly parent_name: string | null;
  readonly kind: SnapshotKind;
  readonly labels: string;
  readonly size_bytes: bigint | null;
  readonly inodes: bigint | null;
  readonly created_at: bigint;
  readonly updated_at: bigint;
}

/** A snapshot with what only the daemon knows of it. */
export interface SnapshotRecord {
  readonly id: bigint;
  readonly parentId: bigint | undefined;
  readonly info: SnapshotInfo;
  /** Usage as it was at the commit; undefined before. */
  readonly usage: SnapshotUsage | undefined;
}

const SELECT = `
  SELECT s.*, p.name AS parent_name
  FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent_id`;

/** Rows of one snapshotter in the metadata database. */
export class SnapshotRecords {
  readonly #database: Database;
  readonly #snapshotter: string;

  constructor(database: Database, snapshotter: string) {
    this.#database = database;
    this.#snapshotter = snapshotter;
  }

  find(scope: Scope, name: string): SnapshotRecord | undefined {
    const row = this.#database.get<SnapshotRow>(
      `${SELECT} WHERE s.namespace = ? AND s.snapshotter = ? AND s.name = ?`,
      scope.namespace,
      this.#snapshotter,
      name,
    );
    return row && recordOf(row);
  }

  /** Throws NotFound. */
  get(scope: Scope, name: string): SnapshotRecord {
    const record = this.find(scope, name);
    if (record === undefined) {
      throw new TsError('NotFound', `snapshot ${name} does not exist: not found`);
    }
    return record;
  }

  list(scope: Scope, filters?: readonly string[]): SnapshotInfo[] {
    const matches = compileFilters(filters);
    return this.#database
      .all<SnapshotRow>(
        `${SELECT} WHERE s.namespace = ? AND s.snapshotter = ? ORDER BY s.name`,
        scope.namespace,
        this.#snapshotter,
      )
      .map((row) => recordOf(row).info)
      .filter((info) =>
        matches((path) => {
          switch (path[0]) {
            case 'kind':
              return info.kind;
            case 'name':
              return info.name;
            case 'parent':
              return present(info.parent);
            case 'labels':
              return lookUpMap(info.labels, path);
            default:
              return undefined;
          }
        }),
      );
  }

  /** Ids from the parent of `id` up to the base, nearest first. */
  parents(id: bigint): bigint[] {
    return this.#database
      .all<{ id: bigint }>(
        `WITH RECURSIVE chain (id, depth) AS (
           SELECT parent_id, 1 FROM snapshots WHERE id = ? AND parent_id IS NOT NULL
           UNION ALL
           SELECT s.parent_id, chain.depth + 1 FROM snapshots s JOIN chain ON s.id = chain.id
           WHERE s.parent_id IS NOT NULL
         ) SELECT id FROM chain ORDER BY depth`,
        id,
      )
      .map((row) => row.id);
  }

  hasChildren(id: bigint): boolean {
    return (
      this.#database.get('SELECT 1 FROM snapshots WHERE parent_id = ? LIMIT 1', id) !== undefined
    );
  }

  /** Ids of this snapshotter in all namespaces. */
  ids(): Set<bigint> {
    const rows = this.#database.all<{ id: bigint }>(
      'SELECT id FROM snapshots WHERE snapshotter = ?',
      this.#snapshotter,
    );
    return new Set(rows.map((row) => row.id));
  }

  insert(
    scope: Scope,
    id: bigint,
    name: string,
    parentId: bigint | undefined,
    kind: SnapshotKind,
    labels: Labels,
  ): void {
    ensureNamespace(this.#database, scope.namespace);
    const now = nowNs();
    this.#database.run(
      `INSERT INTO snapshots (id, namespace, snapshotter, name, parent_id, kind, labels,
         created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      id,
      scope.namespace,
      this.#snapshotter,
      name,
      parentId ?? null,
      kind,
      encodeLabels(labels),
      now,
      now,
    );
  }

  /** Makes an active snapshot a committed one with another name. */
  commit(id: bigint, name: string, labels: Labels, usage: SnapshotUsage): void {
    const now = nowNs();
    this.#database.run(
      `UPDATE snapshots SET name = ?, kind = 'committed', labels = ?, size_bytes = ?, inodes = ?,
         created_at = ?, updated_at = ? WHERE id = ?`,
      name,
      encodeLabels(labels),
      usage.sizeBytes,
      usage.inodes,
      now,
      now,
      id,
    );
  }

  setParent(id: bigint, parentId: bigint): void {
    this.#database.run('UPDATE snapshots SET parent_id = ? WHERE id = ?', parentId, id);
  }

  setLabels(id: bigint, labels: Labels): void {
    this.#database.run(
      'UPDATE snapshots SET labels = ?, updated_at = ? WHERE id = ?',
      encodeLabels(labels),
      nowNs(),
      id,
    );
  }

  delete(id: bigint): void {
    this.#database.run('DELETE FROM snapshots WHERE id = ?', id);
  }
}

/**
 * Numbers for new snapshots, over all snapshotters and above all that were ever used: a directory
 * that is still being deleted, or that a crash left, is never taken for a new snapshot's.
 */
export class SnapshotIds {
  #last: bigint;

  constructor(database: Database) {
    const used = database.get<{ seq: bigint }>(
      "SELECT seq FROM sqlite_sequence WHERE name = 'snapshots'",
    );
    this.#last = used?.seq ?? 0n;
  }

  /** Tells of a number found on disk. */
  seen(id: bigint): void {
    if (id > this.#last) this.#last = id;
  }

  next(): bigint {
    this.#last += 1n;
    return this.#last;
  }
}

function recordOf(row: SnapshotRow): SnapshotRecord {
  const isMeasured = row.size_bytes !== null && row.inodes !== null;
  return {
    id: row.id,
    parentId: row.parent_id ?? undefined,
    usage: isMeasured ? { sizeBytes: row.size_bytes, inodes: row.inodes } : undefined,
    info: {
      name: row.name,
      parent: row.parent_name ?? '',
      kind: row.kind,
      createdAt: row.created_at,
      updatedAt: row.updated_at,
      labels: decodeMap(row.labels),
    },
  };
}
