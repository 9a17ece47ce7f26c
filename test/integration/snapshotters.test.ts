// The snapshotters of the daemon, through their contract and over crashes.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LocalExchange } from '../../internal/events/local-exchange.ts';
import { Database } from '../../internal/metadata/database.ts';
import { NativeDriver } from '../../internal/snapshots/native-driver.ts';
import {
  detectOverlayfsOptions,
  OverlayfsDriver,
  overlayfsObstacle,
} from '../../internal/snapshots/overlayfs-driver.ts';
import type { SnapshotDriver } from '../../internal/snapshots/snapshot-driver.ts';
import { SnapshotIds } from '../../internal/snapshots/snapshot-records.ts';
import { SnapshotStore } from '../../internal/snapshots/snapshot-store.ts';
import { WorkerPool } from '../../internal/snapshots/worker-pool.ts';
import {
  type Fixture,
  fixtureDirectory,
  snapshotterContract,
} from '../fixtures/snapshotter-contract.ts';

type MakeDriver = (root: string, workers: WorkerPool) => SnapshotDriver;

interface OpenFixture extends Fixture {
  readonly snapshotter: SnapshotStore;
  readonly root: string;
}

async function open(makeDriver: MakeDriver, root = fixtureDirectory()): Promise<OpenFixture> {
  const workers = new WorkerPool(1);
  const database = new Database(join(root, 'metadata.db'));
  const driver = makeDriver(join(root, 'driver'), workers);
  const ids = new SnapshotIds(database);
  const snapshotter = new SnapshotStore(database, driver, new LocalExchange(), ids);
  await snapshotter.open();
  return {
    snapshotter,
    root,
    async close() {
      await snapshotter.close();
      await workers.close();
      database.close();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

const overlayfs: MakeDriver = (root, workers) =>
  new OverlayfsDriver(root, workers, detectOverlayfsOptions());
const native: MakeDriver = (root, workers) => new NativeDriver(root, workers);

const isRoot = process.getuid?.() === 0;
const probeRoot = fixtureDirectory();
const obstacle = isRoot ? overlayfsObstacle(probeRoot, detectOverlayfsOptions()) : undefined;
rmSync(probeRoot, { recursive: true, force: true });

const drivers: [string, MakeDriver, string | undefined][] = [
  ['overlayfs', overlayfs, obstacle?.message],
  ['native', native, undefined],
];
for (const [name, makeDriver, reason] of drivers) {
  const skip = isRoot ? reason : 'needs root';
  if (skip !== undefined) test(name, { skip }, () => {});
  else snapshotterContract(name, () => open(makeDriver), { hasOurMessages: true });
}

test('overlayfs: mounts are containerd’s', { skip: isRoot ? false : 'needs root' }, async (t) => {
  const options = { hasUserXattrs: false, mountOptions: ['index=off'] };
  const fixture = await open((root, workers) => new OverlayfsDriver(root, workers, options));
  t.after(fixture.close);
  const { snapshotter: s, root } = fixture;
  const scope = { namespace: 'default' };
  const none = new Map();
  const at = (id: number, part: string): string => join(root, 'driver/snapshots', String(id), part);
  assert.deepEqual(await s.prepare(scope, 'a', '', none), [
    { type: 'bind', source: at(1, 'fs'), target: '', options: ['rw', 'rbind'] },
  ]);
  await s.commit(scope, 'A', 'a', none);
  assert.deepEqual(await s.view(scope, 'v', 'A', none), [
    { type: 'bind', source: at(1, 'fs'), target: '', options: ['ro', 'rbind'] },
  ]);
  assert.deepEqual(await s.prepare(scope, 'b', 'A', none), [
    {
      type: 'overlay',
      source: 'overlay',
      target: '',
      options: [
        `workdir=${at(3, 'work')}`,
        `upperdir=${at(3, 'fs')}`,
        `lowerdir=${at(1, 'fs')}`,
        'index=off',
      ],
    },
  ]);
  await s.commit(scope, 'B', 'b', none);
  assert.deepEqual(await s.view(scope, 'w', 'B', none), [
    {
      type: 'overlay',
      source: 'overlay',
      target: '',
      options: [`lowerdir=${at(3, 'fs')}:${at(1, 'fs')}`, 'index=off'],
    },
  ]);
});

test('a crash: data without a record is deleted at the next start', async (t) => {
  const first = await open(native);
  t.after(first.close);
  const scope = { namespace: 'default' };
  await first.snapshotter.prepare(scope, 'kept', '', new Map());
  const snapshots = join(first.root, 'driver/snapshots');
  mkdirSync(join(snapshots, '7/deep/er'), { recursive: true }); // made, and then the daemon died
  const workers = new WorkerPool(1);
  using database = new Database(join(first.root, 'metadata.db'));
  const driver = new NativeDriver(join(first.root, 'driver'), workers);
  const ids = new SnapshotIds(database);
  const again = new SnapshotStore(database, driver, new LocalExchange(), ids);
  await again.open();
  assert.deepEqual(readdirSync(snapshots), ['1']);
  // The number of what was deleted is not given to a new snapshot.
  const [mount] = await again.prepare(scope, 'new', '', new Map());
  assert.equal(mount?.source, join(snapshots, '8'));
  await workers.close();
});

test('remove: the data is gone when the store is closed', async (t) => {
  const { snapshotter, root, close } = await open(native);
  t.after(close);
  const scope = { namespace: 'default' };
  await snapshotter.prepare(scope, 'k', '', new Map());
  assert.ok(existsSync(join(root, 'driver/snapshots/1')));
  await snapshotter.remove(scope, 'k');
  await snapshotter.close();
  assert.deepEqual(readdirSync(join(root, 'driver/snapshots')), []);
});
