import { packAny } from '../api/any.ts';
import { ContentDelete, SnapshotRemove } from '../api/generated/containerd.events.ts';
import { ImageDelete } from '../api/generated/containerd.services.images.v1.ts';
import { TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import type { Database } from '../metadata/database.ts';
import type { Cleaner, Collection, GarbageCollector } from './garbage-collector.ts';
import { GcRecords, type LabelledRow } from './gc-records.ts';
import { node } from './references.ts';

/** Deletions that come close together are one run. */
const DELAY_MS = 100;
/** Longest time between runs: leases, images and ingests expire without a deletion. */
const MAX_INTERVAL_MS = 30 * 60 * 1000;

/** As containerd: a larger share would let one run follow the other. */
const MAX_PAUSE_THRESHOLD = 0.5;

interface Unreferenced {
  readonly content: readonly { namespace: string; id: string }[];
  readonly snapshots: GcRecords['snapshots'];
  readonly ingests: readonly { namespace: string; id: string }[];
  readonly leases: readonly { namespace: string; id: string }[];
  readonly images: readonly { namespace: string; id: string }[];
}

/** When runs begin by themselves (containerd docs/garbage-collection.md, "Configuration parameters"). */
export interface GcSchedule {
  /** Largest share of time that runs may take: after a run the next waits accordingly; 0 for no limit. */
  readonly pauseThreshold?: number;
  /**
   * Changes that may have made garbage before a run is due. With 0 each one makes it due: containerd
   * waits for `mutationThreshold` then, and leaves what was deleted on the disk meanwhile.
   */
  readonly deletionThreshold?: number;
  /** The same for all changes, where deletions alone are not enough; 0 for none. */
  readonly mutationThreshold?: number;
  /** Time from the change that makes a run due to the run. */
  readonly delayMs?: number;
  /** Time from the start to the first run. */
  readonly startupDelayMs?: number;
}

export interface SqliteCollectorOptions extends GcSchedule {
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
  /** Changes since the last run. */
  #changes = 0;
  /** Before this the share of time that runs may take is used up. */
  #notBeforeMs = 0;
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
    this.#changes++;
    const { deletionThreshold = 0, mutationThreshold = 0, delayMs = 0 } = this.#options;
    const isDue =
      this.#changes >= deletionThreshold ||
      (mutationThreshold > 0 && this.#changes >= mutationThreshold);
    if (!isDue || this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    const untilAllowedMs = this.#notBeforeMs - performance.now();
    this.#setTimer(Math.max(delayMs, DELAY_MS, untilAllowedMs));
  }

  /** Schedules the first run, for what an earlier process left. */
  start(): void {
    if (this.#isClosed) return;
    this.#isScheduled = true;
    this.#setTimer(this.#options.startupDelayMs ?? DELAY_MS);
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
    this.#changes = 0;
    const startedMs = performance.now();
    let nextExpiryMs = Number.POSITIVE_INFINITY;
    try {
      const swept = this.#database.transaction(() => this.#sweep());
      nextExpiryMs = swept.nextExpiryMs;
      return await this.#clean(swept.unreferenced, startedMs);
    } finally {
      const endedMs = performance.now();
      const share = Math.min(this.#options.pauseThreshold ?? 0, MAX_PAUSE_THRESHOLD);
      if (share > 0) this.#notBeforeMs = endedMs + (endedMs - startedMs) / share;
      // After a failure too, such as a full disk's: nobody may ask again.
      if (!this.#isScheduled) {
        const maxIntervalMs = this.#options.maxIntervalMs ?? MAX_INTERVAL_MS;
        const untilExpiryMs = Math.max(nextExpiryMs - Date.now(), DELAY_MS);
        this.#setTimer(Math.min(untilExpiryMs, maxIntervalMs));
      }
    }
  }

  async #clean(unreferenced: Unreferenced, startedMs: number): Promise<Collection> {
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
    this.#options.onCollection?.(collection);
    const [first, ...others] = errors;
    if (first !== undefined) {
      first.cleanup.push(...others);
      throw first;
    }
    return collection;
  }

  #sweep(): { unreferenced: Unreferenced; nextExpiryMs: number } {
    const records = new GcRecords(this.#database);
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
    for (const { id } of childrenFirst(unreferenced.snapshots)) {
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

/** A record cannot go before those that name it as their parent. */
function childrenFirst(rows: GcRecords['snapshots']): GcRecords['snapshots'] {
  const keyOf = (row: (typeof rows)[number], name: string | null): string =>
    `${row.namespace}\0${row.snapshotter}\0${name}`;
  const byName = new Map(rows.map((row) => [keyOf(row, row.name), row]));
  const parentOf = (row: (typeof rows)[number]) => byName.get(keyOf(row, row.parent));
  const parentsFirst = new Set<(typeof rows)[number]>();
  for (const row of rows) {
    const line = [row];
    for (let up = parentOf(row); up && !parentsFirst.has(up); up = parentOf(up)) line.push(up);
    for (const one of line.reverse()) parentsFirst.add(one);
  }
  return [...parentsFirst].reverse();
}
