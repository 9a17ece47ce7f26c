import { packAny } from '../api/any.ts';
import {
  NamespaceCreate,
  NamespaceDelete,
  NamespaceUpdate,
} from '../api/generated/containerd.events.ts';
import { TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import type { Database } from './database.ts';
import { checkIdentifier } from './identifiers.ts';
import { checkLabels, decodeMap, encodeLabels, withEntry } from './labels.ts';
import type { Labels } from './scope.ts';

export interface Namespace {
  readonly name: string;
  readonly labels: Labels;
}

/** Makes a namespace exist that a record is about to be inserted into. */
export function ensureNamespace(database: Database, name: string): void {
  database.run(`INSERT OR IGNORE INTO namespaces (name, labels) VALUES (?, '{}')`, name);
}

/** The daemon's tenants and their labels. */
export class NamespaceStore {
  readonly #database: Database;
  readonly #events: EventExchange;

  constructor(database: Database, events: EventExchange) {
    this.#database = database;
    this.#events = events;
  }

  /** Clients ask for the labels of a namespace before its first use: one that does not exist has
   * none. */
  get(name: string): Namespace {
    const row = this.#database.get<{ labels: string }>(
      'SELECT labels FROM namespaces WHERE name = ?',
      name,
    );
    return { name, labels: decodeMap(row?.labels ?? '{}') };
  }

  list(): Namespace[] {
    return this.#database
      .all<{ name: string; labels: string }>('SELECT name, labels FROM namespaces ORDER BY name')
      .map((row) => ({ name: row.name, labels: decodeMap(row.labels) }));
  }

  create(namespace: Namespace): Namespace {
    const { name, labels } = namespace;
    checkIdentifier('namespace', name);
    checkLabels('namespace.Labels', labels);
    const inserted = this.#database.run(
      'INSERT OR IGNORE INTO namespaces (name, labels) VALUES (?, ?)',
      name,
      encodeLabels(labels),
    );
    if (inserted === 0) throw new TsError('AlreadyExists', `namespace "${name}": already exists`);
    this.#events.publish(
      { namespace: name },
      '/namespaces/create',
      packAny(NamespaceCreate, { name, labels }),
    );
    return this.get(name);
  }

  /** Sets the labels named by `fieldPaths` (`labels.KEY`); all of them when there are none. */
  update(namespace: Namespace, fieldPaths: readonly string[]): Namespace {
    const { name } = namespace;
    checkLabels('namespace.Labels', namespace.labels);
    checkIdentifier('namespace', name);
    const updated = this.#database.transaction(() => {
      ensureNamespace(this.#database, name);
      let { labels } = this.get(name);
      if (fieldPaths.length === 0) labels = namespace.labels;
      for (const path of fieldPaths) {
        if (path === 'labels') labels = namespace.labels;
        else if (path.startsWith('labels.')) {
          labels = withEntry(labels, path.slice('labels.'.length), namespace.labels);
        } else {
          throw new TsError(
            'InvalidArgument',
            `cannot update "${path}" field on "${name}": invalid argument`,
          );
        }
      }
      this.#database.run(
        'UPDATE namespaces SET labels = ? WHERE name = ?',
        encodeLabels(labels),
        name,
      );
      return this.get(name);
    });
    this.#events.publish(
      { namespace: name },
      '/namespaces/update',
      packAny(NamespaceUpdate, { name, labels: updated.labels }),
    );
    return updated;
  }

  /** Removes an empty namespace; what is still in it is named by the FailedPrecondition. */
  delete(name: string): void {
    this.#database.transaction(() => {
      const contents = this.#contentsOf(name);
      if (contents.length > 0) {
        throw new TsError(
          'FailedPrecondition',
          `namespace "${name}" must be empty, but it still has ${contents.join(', ')}: ` +
            'failed precondition',
          { code: 'TS_NAMESPACE_NOT_EMPTY' },
        );
      }
      // A lease keeps nothing once all that it could keep is gone.
      this.#database.run('DELETE FROM leases WHERE namespace = ?', name);
      this.#database.run('DELETE FROM ingests WHERE namespace = ?', name);
      if (this.#database.run('DELETE FROM namespaces WHERE name = ?', name) === 0) {
        throw new TsError('NotFound', `namespace "${name}": not found`);
      }
    });
    this.#events.publish(
      { namespace: name },
      '/namespaces/delete',
      packAny(NamespaceDelete, { name }),
    );
  }

  #contentsOf(name: string): string[] {
    const has = (table: string): boolean =>
      this.#database.get(`SELECT 1 FROM ${table} WHERE namespace = ? LIMIT 1`, name) !== undefined;
    const snapshotters = this.#database.all<{ snapshotter: string }>(
      'SELECT DISTINCT snapshotter FROM snapshots WHERE namespace = ? ORDER BY snapshotter',
      name,
    );
    return [
      ...(has('images') ? ['images'] : []),
      ...(has('content') ? ['blobs'] : []),
      ...(has('containers') ? ['containers'] : []),
      ...(has('sandboxes') ? ['sandboxes'] : []),
      ...snapshotters.map(({ snapshotter }) => `snapshots on "${snapshotter}" snapshotter`),
    ];
  }
}
