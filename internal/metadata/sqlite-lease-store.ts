import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { GarbageCollector } from '../gc/garbage-collector.ts';
import { parseDigest } from '../oci/index.ts';
import type { Database } from './database.ts';
import { compileFilters, lookUpMap, present } from './filters.ts';
import { checkLabels, decodeMap, encodeLabels } from './labels.ts';
import { addToLease, removeFromLease, requireLease } from './lease-resources.ts';
import type { Lease, LeaseResource, LeaseStore } from './lease-store.ts';
import { ensureNamespace } from './namespace-store.ts';
import type { Labels, Scope } from './scope.ts';

interface LeaseRow {
  readonly id: string;
  readonly labels: string;
  readonly created_at: bigint;
}

/** Leases in the metadata database. */
export class SqliteLeaseStore implements LeaseStore {
  readonly #database: Database;
  readonly #gc: GarbageCollector;

  constructor(database: Database, gc: GarbageCollector) {
    this.#database = database;
    this.#gc = gc;
  }

  create(scope: Scope, id: string, labels: Labels): Lease {
    if (id === '') throw new TsError('InvalidArgument', 'lease id must be provided');
    checkLabels('lease.Labels', labels);
    return this.#database.transaction(() => {
      ensureNamespace(this.#database, scope.namespace);
      const createdAt = nowNs();
      const inserted = this.#database.run(
        'INSERT OR IGNORE INTO leases (namespace, id, labels, created_at) VALUES (?, ?, ?, ?)',
        scope.namespace,
        id,
        encodeLabels(labels),
        createdAt,
      );
      if (inserted === 0) throw new TsError('AlreadyExists', `lease "${id}": already exists`);
      return { id, labels, createdAt };
    });
  }

  async delete(scope: Scope, id: string, synchronous: boolean): Promise<void> {
    const deleted = this.#database.run(
      'DELETE FROM leases WHERE namespace = ? AND id = ?',
      scope.namespace,
      id,
    );
    if (deleted === 0) throw new TsError('NotFound', `lease "${id}": not found`);
    if (synchronous) await this.#gc.collect();
    else this.#gc.schedule();
  }

  list(scope: Scope, filters?: readonly string[]): Lease[] {
    const matches = compileFilters(filters);
    return this.#database
      .all<LeaseRow>(
        'SELECT id, labels, created_at FROM leases WHERE namespace = ? ORDER BY id',
        scope.namespace,
      )
      .map((row) => ({ id: row.id, labels: decodeMap(row.labels), createdAt: row.created_at }))
      .filter((lease) =>
        matches((path) => {
          if (path[0] === 'id') return present(lease.id);
          return path[0] === 'labels' ? lookUpMap(lease.labels, path) : undefined;
        }),
      );
  }

  addResource(scope: Scope, id: string, resource: LeaseResource): void {
    requireLease(this.#database, scope, id);
    checkResource(resource);
    addToLease(this.#database, { ...scope, lease: id }, resource.type, resource.id);
  }

  deleteResource(scope: Scope, id: string, resource: LeaseResource): void {
    requireLease(this.#database, scope, id);
    checkResource(resource);
    removeFromLease(this.#database, { ...scope, lease: id }, resource.type, resource.id);
    this.#gc.schedule();
  }

  listResources(scope: Scope, id: string): LeaseResource[] {
    requireLease(this.#database, scope, id);
    return this.#database.all<{ type: string; id: string }>(
      'SELECT type, id FROM lease_resources WHERE namespace = ? AND lease = ? ORDER BY type, id',
      scope.namespace,
      id,
    );
  }
}

function checkResource(resource: LeaseResource): void {
  const [kind = '', snapshotter, ...rest] = resource.type.split('/');
  const isSnapshot = kind === 'snapshots';
  if (!isSnapshot && !['content', 'ingests', 'images'].includes(kind)) {
    throw new TsError(
      'NotImplemented',
      `lease resource type "${resource.type}" not supported yet: not implemented`,
    );
  }
  if (rest.length > 0 || isSnapshot !== (snapshotter !== undefined)) {
    throw new TsError(
      'InvalidArgument',
      `invalid lease resource type "${resource.type}": invalid argument`,
    );
  }
  if (kind === 'content') parseDigest(resource.id, 'lease resource');
}
