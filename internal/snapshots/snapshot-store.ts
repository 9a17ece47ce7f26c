/**
 * The snapshotter: names, parents and labels in the metadata database, data in a driver's hands.
 *
 * Order keeps it whole over a crash at any point: data is made before its record and deleted after
 * it, so that what a crash leaves is data without a record, which `clean` deletes. What is being
 * made has no record either and is protected by a set in memory.
 */
import { packAny } from '../api/any.ts';
import {
  SnapshotCommit,
  SnapshotPrepare,
  SnapshotRemove,
} from '../api/generated/containerd.events.ts';
import { TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import type { Cleaner } from '../gc/garbage-collector.ts';
import type { Logger } from '../log/index.ts';
import type { Database } from '../metadata/database.ts';
import { checkLabels, withEntry } from '../metadata/labels.ts';
import { addToLease, removeFromLease } from '../metadata/lease-resources.ts';
import type { Labels, Scope } from '../metadata/scope.ts';
import { type DriverSnapshot, SNAPSHOT_REF, type SnapshotDriver } from './snapshot-driver.ts';
import { type SnapshotIds, type SnapshotRecord, SnapshotRecords } from './snapshot-records.ts';
import type { Mount, SnapshotInfo, Snapshotter, SnapshotUsage } from './snapshotter.ts';
import { Turns } from './turns.ts';

export class SnapshotStore implements Snapshotter, Cleaner {
  readonly name: string;
  readonly canRebase: boolean;
  readonly isRemote: boolean;
  readonly #database: Database;
  readonly #driver: SnapshotDriver;
  readonly #events: EventExchange;
  readonly #ids: SnapshotIds;
  readonly #records: SnapshotRecords;
  readonly #log: Logger | undefined;
  /** Ids whose data is being made or deleted right now. */
  readonly #busy = new Set<bigint>();
  /** Names, with their namespace, that are being made. */
  readonly #reserved = new Set<string>();
  readonly #removals = new Set<Promise<void>>();
  /** Data reaches the driver for deletion in the order of the removals: children before parents. */
  readonly #syncs = new Turns();

  /** `log` is told of what nobody waits for. */
  constructor(
    database: Database,
    driver: SnapshotDriver,
    events: EventExchange,
    ids: SnapshotIds,
    log?: Logger,
  ) {
    this.name = driver.name;
    this.isRemote = driver.isRemote ?? false;
    this.canRebase = driver.rebase !== undefined;
    this.#database = database;
    this.#driver = driver;
    this.#events = events;
    this.#ids = ids;
    this.#records = new SnapshotRecords(database, driver.name);
    this.#log = log?.child({ snapshotter: driver.name });
  }

  /** Learns the numbers in use on disk and deletes what a crash left. To be called once, first. */
  async open(): Promise<void> {
    const onDisk = new Set(await this.#driver.ids());
    for (const id of onDisk) this.#ids.seen(id);
    const lost = [...this.#records.ids()].filter((id) => !onDisk.has(id));
    if (lost.length > 0) {
      // They are kept: a disk that is not mounted yet looks the same, and `clean` would then delete
      // all that is on it.
      this.#log?.error(
        { ids: lost.map(String) },
        'snapshots without data: remove and unpack again',
      );
    }
    await this.clean();
  }

  stat(scope: Scope, key: string): SnapshotInfo {
    return this.#records.get(scope, key).info;
  }

  update(scope: Scope, key: string, labels: Labels, fieldPaths: readonly string[]): SnapshotInfo {
    return this.#database.transaction(() => {
      const { id, info } = this.#records.get(scope, key);
      let merged: Labels = fieldPaths.length === 0 ? labels : info.labels;
      for (const path of fieldPaths) {
        if (path === 'labels') merged = labels;
        else if (path.startsWith('labels.')) {
          merged = withEntry(merged, path.slice('labels.'.length), labels);
        } else {
          throw new TsError('InvalidArgument', `cannot update ${path} field on snapshot ${key}`);
        }
      }
      checkLabels('snapshot.Labels', merged);
      this.#records.setLabels(id, merged);
      return this.#records.get(scope, key).info;
    });
  }

  async usage(scope: Scope, key: string): Promise<SnapshotUsage> {
    const record = this.#records.get(scope, key);
    if (record.usage !== undefined) return record.usage;
    if (record.info.kind === 'view') return { sizeBytes: 0n, inodes: 0n };
    return await this.#driver.usage(this.#driverSnapshot(record));
  }

  async mounts(scope: Scope, key: string): Promise<Mount[]> {
    const record = this.#records.get(scope, key);
    if (record.info.kind === 'committed') {
      throw new TsError('FailedPrecondition', `mount snapshot ${key}: it is committed`, {
        advice: 'prepare or view a snapshot with it as parent and mount that',
      });
    }
    return await this.#driver.mounts(this.#driverSnapshot(record));
  }

  prepare(scope: Scope, key: string, parent: string, labels: Labels): Promise<Mount[]> {
    return this.#create(scope, key, parent, 'active', labels);
  }

  view(scope: Scope, key: string, parent: string, labels: Labels): Promise<Mount[]> {
    return this.#create(scope, key, parent, 'view', labels);
  }

  async rebase(scope: Scope, key: string, parent: string): Promise<Mount[]> {
    if (this.#driver.rebase === undefined) {
      throw new TsError('NotImplemented', `rebase snapshot ${key}: ${this.name} cannot`);
    }
    const { id, parentId } = this.#active(scope, key);
    const base = this.#committed(scope, parent);
    if (base === undefined || parentId !== undefined) {
      throw new TsError('FailedPrecondition', `rebase snapshot ${key}: it has a parent`);
    }
    const parents = [base.id, ...this.#records.parents(base.id)];
    const snapshot: DriverSnapshot = { id, kind: 'active', parents };
    await this.#driver.rebase(snapshot);
    this.#database.transaction(() => {
      this.#active(scope, key);
      // A child must not outlive its parent, which may have been removed meanwhile.
      if (this.#committed(scope, parent)?.id !== base.id) {
        throw new TsError('NotFound', `parent snapshot ${parent} does not exist: not found`);
      }
      this.#records.setParent(id, base.id);
    });
    return await this.#driver.mounts(snapshot);
  }

  async commit(scope: Scope, name: string, key: string, labels: Labels): Promise<void> {
    if (name === '') throw new TsError('InvalidArgument', 'snapshot name must not be empty');
    checkLabels('snapshot.Labels', labels);
    const record = this.#active(scope, key);
    const { id } = record;
    this.#checkFree(scope, name);
    const usage = await this.#driver.usage(this.#driverSnapshot(record));
    await this.#driver.commit?.(id, labels);
    this.#database.transaction(() => {
      this.#active(scope, key); // it may have been removed while it was measured
      this.#checkFree(scope, name);
      this.#records.commit(id, name, labels, usage);
      const type = `snapshots/${this.name}`;
      addToLease(this.#database, scope, type, name);
      removeFromLease(this.#database, scope, type, key);
    });
    this.#events.publish(
      scope,
      '/snapshot/commit',
      packAny(SnapshotCommit, { key, name, snapshotter: this.name }),
    );
  }

  async remove(scope: Scope, key: string): Promise<void> {
    const { id } = this.#database.transaction(() => {
      const record = this.#records.get(scope, key);
      if (this.#records.hasChildren(record.id)) {
        throw new TsError(
          'FailedPrecondition',
          `cannot remove snapshot ${key} with child: failed precondition`,
        );
      }
      this.#records.delete(record.id);
      removeFromLease(this.#database, scope, `snapshots/${this.name}`, key);
      return record;
    });
    this.#events.publish(
      scope,
      '/snapshot/remove',
      packAny(SnapshotRemove, { key, snapshotter: this.name }),
    );
    // Deleting a large tree takes long and nobody has to wait for it: if it fails, or the daemon
    // dies, `clean` finds data without a record.
    const removal = this.#removeUnrecorded(id).catch((error: unknown) => {
      this.#log?.warn(
        { error, id: String(id) },
        'delete snapshot data: left to the next collection',
      );
    });
    this.#removals.add(removal);
    void removal.finally(() => this.#removals.delete(removal));
  }

  list(scope: Scope, filters?: readonly string[]): SnapshotInfo[] {
    return this.#records.list(scope, filters);
  }

  async cleanup(_scope: Scope): Promise<void> {
    await this.clean();
  }

  async clean(): Promise<void> {
    const onDisk = await this.#driver.ids();
    const recorded = this.#records.ids();
    const orphans = onDisk.filter((id) => !recorded.has(id) && !this.#busy.has(id));
    // Records that were deleted must stay so after a power cut, or they would name nothing.
    if (orphans.length > 0) await this.#database.sync();
    for (const id of orphans) await this.#removeData(id);
    await this.#settled();
  }

  /** Waits for deletions that go on. */
  async close(): Promise<void> {
    await this.#settled();
  }

  async #settled(): Promise<void> {
    while (this.#removals.size > 0) await Promise.all(this.#removals);
  }

  async #create(
    scope: Scope,
    key: string,
    parent: string,
    kind: 'active' | 'view',
    labels: Labels,
  ): Promise<Mount[]> {
    if (key === '') throw new TsError('InvalidArgument', 'snapshot key must not be empty');
    checkLabels('snapshot.Labels', labels);
    this.#checkFree(scope, key);
    const base = this.#committed(scope, parent);
    const parents = base === undefined ? [] : [base.id, ...this.#records.parents(base.id)];
    const snapshot: DriverSnapshot = { id: this.#ids.next(), kind, parents, labels };
    const reservation = reservationOf(scope, key);
    this.#reserved.add(reservation);
    this.#busy.add(snapshot.id);
    let isCommitted = false;
    try {
      const target = labels.get(SNAPSHOT_REF) ?? key;
      const state = await this.#driver.create(snapshot, scope.signal);
      const usage = state === 'committed' ? await this.#driver.usage(snapshot) : undefined;
      this.#database.transaction(() => {
        // The parent may have been removed meanwhile: a child must not outlive it.
        if (this.#committed(scope, parent)?.id !== base?.id) {
          throw new TsError('NotFound', `parent snapshot ${parent} does not exist: not found`);
        }
        if (usage !== undefined) this.#checkFree(scope, target);
        const name = usage === undefined ? key : target;
        this.#records.insert(scope, snapshot.id, name, base?.id, kind, labels);
        if (usage !== undefined) this.#records.commit(snapshot.id, target, labels, usage);
        addToLease(this.#database, scope, `snapshots/${this.name}`, name);
      });
      isCommitted = usage !== undefined;
      // The client then looks whether the snapshot that it wanted to make is there: it is.
      if (isCommitted) throw new TsError('AlreadyExists', `snapshot "${target}": already exists`);
    } catch (thrown) {
      const error = TsError.from(thrown);
      if (isCommitted) throw error;
      try {
        await this.#driver.remove(snapshot.id);
      } catch (cleanup) {
        error.cleanup.push(TsError.from(cleanup)); // `clean` tries again
      }
      throw error;
    } finally {
      this.#reserved.delete(reservation);
      this.#busy.delete(snapshot.id);
    }
    if (kind === 'active') {
      this.#events.publish(
        scope,
        '/snapshot/prepare',
        packAny(SnapshotPrepare, { key, parent, snapshotter: this.name }),
      );
    }
    return await this.#driver.mounts(snapshot);
  }

  /** The parent of a new snapshot, or undefined when it is to have none. */
  #committed(scope: Scope, parent: string): SnapshotRecord | undefined {
    if (parent === '') return undefined;
    const record = this.#records.find(scope, parent);
    if (record === undefined) {
      throw new TsError('NotFound', `parent snapshot ${parent} does not exist: not found`);
    }
    if (record.info.kind !== 'committed') {
      throw new TsError('InvalidArgument', `parent snapshot ${parent} is not committed`);
    }
    return record;
  }

  #active(scope: Scope, key: string): SnapshotRecord {
    const record = this.#records.get(scope, key);
    if (record.info.kind !== 'active') {
      throw new TsError('FailedPrecondition', `snapshot ${key} is not active`);
    }
    return record;
  }

  #checkFree(scope: Scope, name: string): void {
    const isTaken = this.#reserved.has(reservationOf(scope, name));
    if (isTaken || this.#records.find(scope, name) !== undefined) {
      throw new TsError('AlreadyExists', `snapshot "${name}": already exists`);
    }
  }

  #driverSnapshot({ id, info }: SnapshotRecord): DriverSnapshot {
    return { id, kind: info.kind, parents: this.#records.parents(id), labels: info.labels };
  }

  /** Deletes the data once its record cannot come back with a power cut. */
  async #removeUnrecorded(id: bigint): Promise<void> {
    this.#busy.add(id); // before the wait: `clean` must not delete it too
    try {
      await this.#syncs.take(() => this.#database.sync());
      await this.#driver.remove(id);
    } finally {
      this.#busy.delete(id);
    }
  }

  async #removeData(id: bigint): Promise<void> {
    this.#busy.add(id);
    try {
      await this.#driver.remove(id);
    } finally {
      this.#busy.delete(id);
    }
  }
}

/** A namespace has no slash, so that no two pairs give the same string. */
function reservationOf(scope: Scope, name: string): string {
  return `${scope.namespace}/${name}`;
}
