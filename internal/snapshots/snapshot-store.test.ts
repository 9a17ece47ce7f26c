import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { TsError } from '../errors/index.ts';
import { LocalExchange } from '../events/local-exchange.ts';
import { Database } from '../metadata/database.ts';
import type { DriverSnapshot, SnapshotDriver } from './snapshot-driver.ts';
import { SnapshotIds } from './snapshot-records.ts';
import { SnapshotStore } from './snapshot-store.ts';
import type { Mount, SnapshotUsage } from './snapshotter.ts';

const scope = { namespace: 'default' };
const none = new Map<string, string>();

/** A database and a driver that note in one list what reaches the disk. */
function open(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), 'snapshot-store-'));
  const steps: string[] = [];
  class NotedDatabase extends Database {
    override async sync(): Promise<void> {
      await super.sync();
      steps.push('sync');
    }
  }
  class NotedDriver implements SnapshotDriver {
    readonly name = 'noted';
    readonly root = root;
    readonly #ids = new Set<bigint>();
    createError: Error | undefined;
    removeError: Error | undefined;

    async create({ id }: DriverSnapshot): Promise<'made'> {
      this.#ids.add(id);
      if (this.createError !== undefined) throw this.createError;
      return 'made';
    }
    mounts(): Mount[] {
      return [];
    }
    async usage(): Promise<SnapshotUsage> {
      return { sizeBytes: 0n, inodes: 0n };
    }
    async remove(id: bigint): Promise<void> {
      steps.push(`remove ${id}`);
      if (this.removeError !== undefined) throw this.removeError;
      this.#ids.delete(id);
    }
    async ids(): Promise<bigint[]> {
      return [...this.#ids];
    }
  }
  const database = new NotedDatabase(join(root, 'metadata.db'));
  t.after(() => {
    database.close();
    rmSync(root, { recursive: true });
  });
  const driver = new NotedDriver();
  const events = new LocalExchange();
  const store = new SnapshotStore(database, driver, events, new SnapshotIds(database));
  return { store, driver, steps };
}

test('remove: data goes only when its record cannot come back with a power cut', async (t) => {
  const { store, steps } = open(t);
  await store.prepare(scope, 'k', '', none);
  await store.remove(scope, 'k');
  await store.clean(); // at the same time: it leaves the data alone
  await store.close();
  assert.deepEqual(steps, ['sync', 'remove 1']);
});

test('remove: data that could not be deleted is tried again by clean', async (t) => {
  const { store, driver, steps } = open(t);
  await store.prepare(scope, 'k', '', none);
  driver.removeError = new Error('busy');
  await store.remove(scope, 'k');
  await store.close();
  driver.removeError = undefined;
  await store.clean();
  assert.deepEqual(steps, ['sync', 'remove 1', 'sync', 'remove 1']);
  assert.deepEqual(await driver.ids(), []);
});

test('prepare: a failure of the clean-up is attached to the first, not in its place', async (t) => {
  const { store, driver } = open(t);
  driver.createError = new TsError('ResourceExhausted', 'make snapshot: ENOSPC');
  driver.removeError = new TsError('Unavailable', 'remove snapshot: EBUSY');
  await assert.rejects(store.prepare(scope, 'k', '', none), (error: unknown) => {
    assert.ok(error instanceof TsError);
    assert.equal(error.message, 'make snapshot: ENOSPC');
    assert.deepEqual(
      error.cleanup.map(({ message }) => message),
      ['remove snapshot: EBUSY'],
    );
    return true;
  });
});
