import { type AnyMessage, packAny } from '../api/any.ts';
import {
  ContainerCreate,
  ContainerDelete,
  ContainerUpdate,
} from '../api/generated/containerd.events.ts';
import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import type { GarbageCollector } from '../gc/garbage-collector.ts';
import type { ContainerRecord, ContainerStore, NewContainer } from './container-store.ts';
import type { Database } from './database.ts';
import { compileFilters, type FieldLookup, lookUpMap, present } from './filters.ts';
import { checkIdentifier } from './identifiers.ts';
import { checkLabels, decodeMap, encodeLabels, withEntry } from './labels.ts';
import { ensureNamespace } from './namespace-store.ts';
import type { Scope } from './scope.ts';

interface ContainerRow {
  readonly id: string;
  readonly labels: string;
  readonly image: string;
  readonly runtime_name: string;
  readonly runtime_options_type: string | null;
  readonly runtime_options: Uint8Array | null;
  readonly spec_type: string | null;
  readonly spec: Uint8Array | null;
  readonly snapshotter: string;
  readonly snapshot_key: string;
  readonly sandbox: string;
  readonly created_at: bigint;
  readonly updated_at: bigint;
}

interface ExtensionRow {
  readonly container: string;
  readonly name: string;
  readonly type_url: string;
  readonly value: Uint8Array;
}

/** Container records in the metadata database. */
export class SqliteContainerStore implements ContainerStore {
  readonly #database: Database;
  readonly #events: EventExchange;
  readonly #gc: Pick<GarbageCollector, 'schedule'>;

  constructor(database: Database, events: EventExchange, gc: Pick<GarbageCollector, 'schedule'>) {
    this.#database = database;
    this.#events = events;
    this.#gc = gc;
  }

  get(scope: Scope, id: string): ContainerRecord {
    const row = this.#database.get<ContainerRow>(
      'SELECT * FROM containers WHERE namespace = ? AND id = ?',
      scope.namespace,
      id,
    );
    if (row === undefined) throw this.#notFound(scope, id);
    const extensions = this.#database.all<ExtensionRow>(
      'SELECT * FROM container_extensions WHERE namespace = ? AND container = ?',
      scope.namespace,
      id,
    );
    return recordOf(row, extensions);
  }

  list(scope: Scope, filters?: readonly string[]): ContainerRecord[] {
    const matches = compileFilters(filters);
    const extensions = Map.groupBy(
      this.#database.all<ExtensionRow>(
        'SELECT * FROM container_extensions WHERE namespace = ?',
        scope.namespace,
      ),
      (row) => row.container,
    );
    return this.#database
      .all<ContainerRow>(
        'SELECT * FROM containers WHERE namespace = ? ORDER BY id',
        scope.namespace,
      )
      .map((row) => recordOf(row, extensions.get(row.id) ?? []))
      .filter((record) => matches(fieldsOf(record)));
  }

  create(scope: Scope, container: NewContainer): ContainerRecord {
    checkContainer('create', container);
    const now = nowNs();
    const record: ContainerRecord = { ...container, createdAt: now, updatedAt: now };
    const created = this.#database.transaction(() => {
      ensureNamespace(this.#database, scope.namespace);
      if (this.#exists(scope, record.id)) {
        throw new TsError('AlreadyExists', `container "${record.id}": already exists`);
      }
      this.#write(scope, record);
      return this.get(scope, record.id);
    });
    const { name, options } = created.runtime;
    this.#events.publish(
      scope,
      '/containers/create',
      packAny(ContainerCreate, {
        id: created.id,
        image: created.image,
        runtime: { name, options },
      }),
    );
    return created;
  }

  update(scope: Scope, update: NewContainer, fieldPaths: readonly string[]): ContainerRecord {
    checkIdentifier('container.ID', update.id);
    const updated = this.#database.transaction(() => {
      const current = this.get(scope, update.id);
      const merged = applyUpdate(current, update, fieldPaths);
      checkContainer('update', merged);
      this.#write(scope, { ...merged, createdAt: current.createdAt, updatedAt: nowNs() });
      return this.get(scope, update.id);
    });
    const { id, image, labels, snapshotKey } = updated;
    this.#events.publish(
      scope,
      '/containers/update',
      packAny(ContainerUpdate, { id, image, labels, snapshotKey }),
    );
    this.#gc.schedule();
    return updated;
  }

  delete(scope: Scope, id: string): void {
    const deleted = this.#database.run(
      'DELETE FROM containers WHERE namespace = ? AND id = ?',
      scope.namespace,
      id,
    );
    if (deleted === 0) throw this.#notFound(scope, id);
    this.#events.publish(scope, '/containers/delete', packAny(ContainerDelete, { id }));
    this.#gc.schedule();
  }

  /** Users look for a container in the wrong namespace more often than for one that is gone. */
  #notFound(scope: Scope, id: string): TsError {
    const elsewhere = this.#database.get<{ namespace: string }>(
      'SELECT namespace FROM containers WHERE id = ? LIMIT 1',
      id,
    );
    const hint = elsewhere === undefined ? '' : ` (it is in namespace "${elsewhere.namespace}")`;
    return new TsError(
      'NotFound',
      `container "${id}" in namespace "${scope.namespace}"${hint}: not found`,
    );
  }

  #exists(scope: Scope, id: string): boolean {
    const sql = 'SELECT 1 FROM containers WHERE namespace = ? AND id = ?';
    return this.#database.get(sql, scope.namespace, id) !== undefined;
  }

  #write(scope: Scope, record: ContainerRecord): void {
    const { runtime, spec } = record;
    this.#database.run(
      'DELETE FROM containers WHERE namespace = ? AND id = ?',
      scope.namespace,
      record.id,
    );
    this.#database.run(
      `INSERT INTO containers (namespace, id, labels, image, runtime_name, runtime_options_type,
         runtime_options, spec_type, spec, snapshotter, snapshot_key, sandbox, created_at, updated_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      scope.namespace,
      record.id,
      encodeLabels(record.labels),
      record.image,
      runtime.name,
      runtime.options?.typeUrl ?? null,
      runtime.options?.value ?? null,
      spec?.typeUrl ?? null,
      spec?.value ?? null,
      record.snapshotter,
      record.snapshotKey,
      record.sandbox,
      record.createdAt,
      record.updatedAt,
    );
    for (const [name, { typeUrl, value }] of record.extensions) {
      this.#database.run(
        `INSERT INTO container_extensions (namespace, container, name, type_url, value)
         VALUES (?, ?, ?, ?, ?)`,
        scope.namespace,
        record.id,
        name,
        typeUrl,
        value,
      );
    }
  }
}

/** Fields that an update without field paths replaces. */
const MUTABLE_FIELDS = ['labels', 'spec', 'extensions', 'image', 'snapshotkey'];

/** `current` with the named fields taken from `update`. */
function applyUpdate(
  current: ContainerRecord,
  update: NewContainer,
  fieldPaths: readonly string[],
): NewContainer {
  if (fieldPaths.length === 0) {
    checkUnchanged('Snapshotter', current.snapshotter, update.snapshotter);
    checkUnchanged('Runtime.Name', current.runtime.name, update.runtime.name);
  }
  let merged: NewContainer = current;
  for (const path of fieldPaths.length === 0 ? MUTABLE_FIELDS : fieldPaths) {
    merged = { ...merged, ...updatedField(merged, update, path) };
  }
  return merged;
}

function updatedField(
  current: NewContainer,
  update: NewContainer,
  path: string,
): Partial<NewContainer> {
  if (path.startsWith('labels.')) {
    return { labels: withEntry(current.labels, path.slice('labels.'.length), update.labels) };
  }
  if (path.startsWith('extensions.')) {
    const name = path.slice('extensions.'.length);
    const extensions = new Map(current.extensions);
    const extension = update.extensions.get(name);
    if (extension === undefined) extensions.delete(name);
    else extensions.set(name, extension);
    return { extensions };
  }
  switch (path) {
    case 'labels':
      return { labels: update.labels };
    case 'spec':
      return { spec: update.spec };
    case 'extensions':
      return { extensions: update.extensions };
    case 'image':
      return { image: update.image };
    case 'snapshotkey':
    case 'snapshot_key':
      return { snapshotKey: update.snapshotKey };
    default:
      throw new TsError(
        'InvalidArgument',
        `cannot update "${path}" field on "${update.id}": invalid argument`,
      );
  }
}

function checkUnchanged(field: string, current: string, update: string): void {
  if (current === update) return;
  throw new TsError('InvalidArgument', `container.${field} field is immutable: invalid argument`);
}

function checkContainer(operation: 'create' | 'update', container: NewContainer): void {
  try {
    checkFields(container);
  } catch (error) {
    throw TsError.from(error).within(`${operation} container failed validation`);
  }
}

function checkFields(container: NewContainer): void {
  checkIdentifier('container.ID', container.id);
  if (container.extensions.has('')) throw invalid('container.Extensions keys must not be empty');
  checkLabels('containers.Labels', container.labels);
  if (container.runtime.name === '') throw invalid('container.Runtime.Name must be set');
  if (container.snapshotKey !== '' && container.snapshotter === '') {
    throw invalid('container.Snapshotter must be set if container.SnapshotKey is set');
  }
}

function invalid(text: string): TsError {
  return new TsError('InvalidArgument', `${text}: invalid argument`);
}

function recordOf(row: ContainerRow, extensions: readonly ExtensionRow[]): ContainerRecord {
  return {
    id: row.id,
    labels: decodeMap(row.labels),
    image: row.image,
    runtime: {
      name: row.runtime_name,
      options: anyOf(row.runtime_options_type, row.runtime_options),
    },
    spec: anyOf(row.spec_type, row.spec),
    snapshotter: row.snapshotter,
    snapshotKey: row.snapshot_key,
    sandbox: row.sandbox,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    extensions: new Map(
      extensions.map(({ name, type_url: typeUrl, value }) => [name, { typeUrl, value }]),
    ),
  };
}

function anyOf(typeUrl: string | null, value: Uint8Array | null): AnyMessage | undefined {
  return typeUrl === null || value === null ? undefined : { typeUrl, value };
}

function fieldsOf(record: ContainerRecord): FieldLookup {
  return (path) => {
    switch (path[0]) {
      case 'id':
        return present(record.id);
      case 'image':
        return present(record.image);
      case 'runtime':
        return path[1] === 'name' ? present(record.runtime.name) : undefined;
      case 'labels':
        return lookUpMap(record.labels, path);
      default:
        return undefined;
    }
  };
}
