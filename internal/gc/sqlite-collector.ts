import { packAny } from '../api/any.ts';
import { ContentDelete, SnapshotRemove } from '../api/generated/containerd.events.ts';
import { ImageDelete } from '../api/generated/containerd.services.images.v1.ts';
import { TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import type { Database } from '../metadata/database.ts';
import type { Cleaner, Collection, GarbageCollector } from './garbage-collector.ts';
import { ReferenceGraph } from './mark.ts';
import { type GcLabels, gcLabelsOf, type Node, node } from './references.ts';

/** Deletions that come close together are one run. */
const DELAY_MS = 100;
/** Longest time between runs: leases, images and ingests expire without a deletion. */
const MAX_INTERVAL_MS = 30 * 60 * 1000;

interface LabelledRow {
  readonly namespace: string;
  readonly id: string;
  readonly labels: string;
}

interface Unreferenced {
  readonly content: { namespace: string; id: string }[];
  readonly snapshots: { namespace: string; snapshotter: string; name: string; id: bigint }[];
  readonly ingests: { namespace: string; id: string }[];
  readonly leases: { namespace: string; id: string }[];
  readonly images: { namespace: string; id: string }[];
}

export interface SqliteCollectorOptions {
  readonly delayMs?: number;
  readonly maxIntervalMs?: number;
  readonly onCollection?: (collection: Collection) => void;
  /** Told of a run that failed and that nobody waits for. */
  readonly onError?: (error: unknown) => void;
}

/**
 * Mark and sweep over the metadata database. A run reads all records, marks what is kept and
 * deletes the others in one transaction, which nothing can interleave: whoever makes a record adds
 * it to its lease in the same transaction and so never loses it.
 */
export class SqliteCollector implements GarbageCollector, Disposable {
  readonly #database: Database;
  readonly #events: EventExchange;
  readonly #options: SqliteCollectorOptions;
  readonly #cleaners: Cleaner[] = [];
  #running: Promise<unknown> = Promise.resolve();
  #queued: Promise<Collection> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isScheduled = false;
  #isClosed = false;

  constructor(database: Database, events: EventExchange, options: SqliteCollectorOptions = {}) {
    this.#database = database;
    this.#events = events;
    this.#options = options;
  }

  addCleaner(cleaner: Cleaner): void {
    this.#cleaners.push(cleaner);
  }

  schedule(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    this.#setTimer(this.#options.delayMs ?? DELAY_MS);
  }

  collect(): Promise<Collection> {
    this.#queued ??= this.#running
      .catch(() => undefined) // whoever asked for that run was told
      .then(() => {
        this.#queued = undefined;
        const run = this.#run();
        this.#running = run;
        return run;
      });
    return this.#queued;
  }

  /** Starts no run any more and waits for the one that goes on. */
  async close(): Promise<void> {
    this[Symbol.dispose]();
    await Promise.allSettled([this.#queued, this.#running]);
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #setTimer(delayMs: number): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.collect().catch((error: unknown) => this.#options.onError?.(error));
    }, delayMs);
    this.#timer.unref();
  }

  async #run(): Promise<Collection> {
    this.#isScheduled = false;
    const startedMs = performance.now();
    const { unreferenced, nextExpiryMs } = this.#database.transaction(() => this.#sweep());
    this.#publish(unreferenced);
    const errors: TsError[] = [];
    for (const cleaner of this.#cleaners) {
      try {
        await cleaner.clean();
      } catch (error) {
        errors.push(TsError.from(error, `clean ${cleaner.name}`));
      }
    }
    const collection: Collection = {
      durationMs: performance.now() - startedMs,
      removed: {
        content: unreferenced.content.length,
        snapshots: unreferenced.snapshots.length,
        ingests: unreferenced.ingests.length,
        leases: unreferenced.leases.length,
        images: unreferenced.images.length,
      },
    };
    if (!this.#isScheduled) {
      const maxIntervalMs = this.#options.maxIntervalMs ?? MAX_INTERVAL_MS;
      const untilExpiryMs = Math.max(nextExpiryMs - Date.now(), DELAY_MS);
      this.#setTimer(Math.min(untilExpiryMs, maxIntervalMs));
    }
    this.#options.onCollection?.(collection);
    const [first, ...others] = errors;
    if (first !== undefined) {
      first.cleanup.push(...others);
      throw first;
    }
    return collection;
  }

  #sweep(): { unreferenced: Unreferenced; nextExpiryMs: number } {
    const records = new Records(this.#database);
    const marked = records.graph.mark();
    const isUnmarked = (type: Parameters<typeof node>[0]) => (row: LabelledRow) =>
      !marked.has(node(type, row.namespace, row.id));
    const unreferenced: Unreferenced = {
      content: records.content.filter(isUnmarked('content')),
      snapshots: records.snapshots.filter(
        (row) => !marked.has(node('snapshot', row.namespace, `${row.snapshotter}/${row.name}`)),
      ),
      ingests: records.ingests.filter((row) => !marked.has(node('ingest', row.namespace, row.id))),
      leases: records.leases.filter(isUnmarked('lease')),
      images: records.images.filter(isUnmarked('image')),
    };
    const remove = (sql: string, rows: readonly { namespace: string; id: string }[]): void => {
      for (const { namespace, id } of rows) this.#database.run(sql, namespace, id);
    };
    remove('DELETE FROM images WHERE namespace = ? AND name = ?', unreferenced.images);
    remove('DELETE FROM leases WHERE namespace = ? AND id = ?', unreferenced.leases);
    remove('DELETE FROM ingests WHERE namespace = ? AND ref = ?', unreferenced.ingests);
    remove('DELETE FROM content WHERE namespace = ? AND digest = ?', unreferenced.content);
    // A child's id is greater than its parent's, and rows come with the greatest id first.
    for (const { id } of unreferenced.snapshots) {
      this.#database.run('DELETE FROM snapshots WHERE id = ?', id);
    }
    return { unreferenced, nextExpiryMs: records.nextExpiryMs };
  }

  #publish({ content, snapshots, images }: Unreferenced): void {
    for (const { namespace, id } of images) {
      this.#events.publish({ namespace }, '/images/delete', packAny(ImageDelete, { name: id }));
    }
    for (const { namespace, id } of content) {
      const event = packAny(ContentDelete, { digest: id });
      this.#events.publish({ namespace }, '/content/delete', event);
    }
    for (const { namespace, name: key, snapshotter } of snapshots) {
      const event = packAny(SnapshotRemove, { key, snapshotter });
      this.#events.publish({ namespace }, '/snapshot/remove', event);
    }
  }
}

/** All records that matter, and the graph of what keeps what. */
class Records {
  readonly graph = new ReferenceGraph();
  readonly content: readonly LabelledRow[];
  readonly snapshots: readonly (Unreferenced['snapshots'][number] & {
    readonly labels: string;
    readonly parent: string | null;
  })[];
  readonly ingests: readonly {
    readonly namespace: string;
    readonly id: string;
    readonly expected: string;
    readonly expires_at: bigint;
  }[];
  readonly leases: readonly LabelledRow[];
  readonly images: readonly (LabelledRow & { readonly digest: string })[];
  /** When the first of what is kept expires, in milliseconds since the epoch. */
  nextExpiryMs = Number.POSITIVE_INFINITY;
  readonly #nowMs = Date.now();

  constructor(database: Database) {
    this.content = database.all('SELECT namespace, digest AS id, labels FROM content');
    this.snapshots = database.all(
      `SELECT s.id, s.namespace, s.snapshotter, s.name, s.labels, p.name AS parent
       FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent_id ORDER BY s.id DESC`,
    );
    this.ingests = database.all('SELECT namespace, ref AS id, expected, expires_at FROM ingests');
    this.leases = database.all('SELECT namespace, id, labels FROM leases');
    this.images = database.all('SELECT namespace, name AS id, labels, digest FROM images');
    this.#addContent();
    this.#addSnapshots();
    this.#addIngests();
    this.#addImages();
    this.#addContainers(database);
    this.#addLeases(database);
  }

  #addContent(): void {
    for (const { namespace, id, labels } of this.content) {
      this.#addLabels(node('content', namespace, id), gcLabelsOf(namespace, labels));
    }
  }

  #addSnapshots(): void {
    for (const { namespace, snapshotter, name, parent, labels } of this.snapshots) {
      const self = node('snapshot', namespace, `${snapshotter}/${name}`);
      this.#addLabels(self, gcLabelsOf(namespace, labels));
      if (parent !== null) {
        this.graph.addReference(self, node('snapshot', namespace, `${snapshotter}/${parent}`));
      }
    }
  }

  #addIngests(): void {
    for (const { namespace, id, expected, expires_at: expiresAt } of this.ingests) {
      const self = node('ingest', namespace, id);
      if (expected !== '') this.graph.addReference(self, node('content', namespace, expected));
      if (expiresAt !== 0n && !this.#isExpired(Number(expiresAt / 1_000_000n))) {
        this.graph.addRoot(self);
      }
    }
  }

  #addImages(): void {
    for (const { namespace, id, labels, digest } of this.images) {
      const self = node('image', namespace, id);
      const gc = gcLabelsOf(namespace, labels);
      this.#addLabels(self, gc);
      this.graph.addReference(self, node('content', namespace, digest));
      if (!this.#isExpired(gc.expiresAtMs)) this.graph.addRoot(self);
    }
  }

  #addContainers(database: Database): void {
    const rows = database.all<LabelledRow & { snapshotter: string; key: string }>(
      'SELECT namespace, id, labels, snapshotter, snapshot_key AS key FROM containers',
    );
    for (const { namespace, id, labels, snapshotter, key } of rows) {
      const self = node('container', namespace, id);
      this.#addLabels(self, gcLabelsOf(namespace, labels));
      this.graph.addRoot(self);
      if (key !== '') {
        this.graph.addReference(self, node('snapshot', namespace, `${snapshotter}/${key}`));
      }
    }
  }

  #addLeases(database: Database): void {
    const resources = Map.groupBy(
      database.all<{ namespace: string; lease: string; type: string; id: string }>(
        'SELECT namespace, lease, type, id FROM lease_resources',
      ),
      ({ namespace, lease }) => node('lease', namespace, lease),
    );
    for (const { namespace, id, labels } of this.leases) {
      const self = node('lease', namespace, id);
      const gc = gcLabelsOf(namespace, labels);
      if (this.#isExpired(gc.expiresAtMs)) continue;
      this.graph.addRoot(self);
      for (const resource of resources.get(self) ?? []) {
        const target = nodeOfResource(namespace, resource.type, resource.id);
        if (gc.isFlat) this.graph.addKept(target);
        else this.graph.addReference(self, target);
      }
    }
  }

  #addLabels(self: Node, labels: GcLabels): void {
    if (labels.isRoot) this.graph.addRoot(self);
    for (const target of labels.references) this.graph.addReference(self, target);
    for (const source of labels.backReferences) this.graph.addReference(source, self);
  }

  #isExpired(expiresAtMs: number | undefined): boolean {
    if (expiresAtMs === undefined) return false;
    if (expiresAtMs <= this.#nowMs) return true;
    this.nextExpiryMs = Math.min(this.nextExpiryMs, expiresAtMs);
    return false;
  }
}

/** A lease's resource: `content`, `ingests`, `images` or `snapshots/NAME`. */
function nodeOfResource(namespace: string, type: string, id: string): Node {
  switch (type) {
    case 'content':
      return node('content', namespace, id);
    case 'ingests':
      return node('ingest', namespace, id);
    case 'images':
      return node('image', namespace, id);
    default:
      return node('snapshot', namespace, `${type.slice('snapshots/'.length)}/${id}`);
  }
}
