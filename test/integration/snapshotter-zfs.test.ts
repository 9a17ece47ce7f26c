// The zfs snapshotter: the commands that it gives to zfs(8), which no kernel of these machines has, and what it says there.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { LocalExchange } from '../../internal/events/local-exchange.ts';
import { Database } from '../../internal/metadata/database.ts';
import { SnapshotIds } from '../../internal/snapshots/snapshot-records.ts';
import { SnapshotStore } from '../../internal/snapshots/snapshot-store.ts';
import { ZfsDriver, zfsDataset } from '../../internal/snapshots/zfs-driver.ts';
import { recordPrograms } from '../fixtures/recorded-programs.ts';

const scope = { namespace: 'default' };
const none = new Map<string, string>();
const script = join(import.meta.dirname, '../fixtures/zfs-stand-in.ts');

async function open(t: TestContext) {
  const programs = recordPrograms(['zfs'], script);
  const database = new Database(join(programs.directory, 'metadata.db'));
  const driver = new ZfsDriver('/unused', 'tank/images');
  const ids = new SnapshotIds(database);
  const store = new SnapshotStore(database, driver, new LocalExchange(), ids);
  t.after(async () => {
    await store.close();
    database.close();
    programs[Symbol.dispose]();
  });
  await store.open();
  programs.take();
  return { store, driver, programs };
}

test('zfs: file systems, snapshots of them and clones, and the mounts of containerd', async (t) => {
  const { store, programs } = await open(t);
  assert.deepEqual(await store.prepare(scope, 'a', '', none), [
    { type: 'zfs', source: 'tank/images/1', target: '', options: [] },
  ]);
  assert.deepEqual(await store.usage(scope, 'a'), { sizeBytes: 24576n, inodes: 0n });
  await store.commit(scope, 'A', 'a', none);
  assert.deepEqual(await store.prepare(scope, 'b', 'A', none), [
    { type: 'zfs', source: 'tank/images/2', target: '', options: [] },
  ]);
  const view = [{ type: 'zfs', source: 'tank/images/3', target: '', options: ['ro'] }];
  assert.deepEqual(await store.view(scope, 'v', 'A', none), view);
  assert.deepEqual(await store.mounts(scope, 'v'), view);
  assert.deepEqual(programs.take(), [
    'zfs create -o mountpoint=legacy tank/images/1',
    'zfs get -Hp -o value used tank/images/1',
    'zfs get -Hp -o value used tank/images/1',
    'zfs snapshot tank/images/1@snapshot',
    'zfs clone -o mountpoint=legacy tank/images/1@snapshot tank/images/2',
    'zfs clone -o mountpoint=legacy tank/images/1@snapshot tank/images/3',
  ]);
});

test('zfs: children are destroyed before what they were cloned from', async (t) => {
  const { store, driver, programs } = await open(t);
  await store.prepare(scope, 'a', '', none);
  await store.commit(scope, 'A', 'a', none);
  await store.prepare(scope, 'b', 'A', none);
  programs.take();
  await store.remove(scope, 'b');
  await store.remove(scope, 'A');
  await store.close();
  assert.deepEqual(programs.take(), [
    'zfs destroy -r tank/images/2',
    'zfs destroy -r tank/images/1',
  ]);
  assert.deepEqual(await driver.ids(), []);
});

test('zfs: what a crash left is destroyed at the next start, the youngest first', async (t) => {
  const { store, driver, programs } = await open(t);
  await driver.create({ id: 7n, kind: 'active', parents: [] });
  await driver.commit(7n);
  await driver.create({ id: 12n, kind: 'active', parents: [7n] });
  programs.take();
  await store.open();
  assert.deepEqual(programs.take(), [
    'zfs list -Hr -d 1 -o name tank/images',
    'zfs list -Hr -d 1 -o name tank/images',
    'zfs destroy -r tank/images/12',
    'zfs destroy -r tank/images/7',
  ]);
});

test('zfs: a commit that a crash ended has what was written since', async (t) => {
  const { store, driver, programs } = await open(t);
  await store.prepare(scope, 'a', '', none);
  await driver.commit(1n); // and then the daemon died
  programs.take();
  await store.commit(scope, 'A', 'a', none);
  assert.deepEqual(programs.take(), [
    'zfs get -Hp -o value used tank/images/1',
    'zfs snapshot tank/images/1@snapshot',
    'zfs destroy tank/images/1@snapshot',
    'zfs snapshot tank/images/1@snapshot',
  ]);
});

test('zfs: what zfs refuses is told in its words, with the command', async (t) => {
  const { driver } = await open(t);
  const create = driver.create({ id: 2n, kind: 'active', parents: [1n] });
  await assert.rejects(create, {
    kind: 'Unknown',
    message:
      'zfs clone -o mountpoint=legacy tank/images/1@snapshot tank/images/2: ' +
      "cannot open 'tank/images/1@snapshot': dataset does not exist",
  });
  await driver.remove(2n); // nothing is there: nothing to tell
});

test('zfs: where there is none the plugin says so', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'zfs-'));
  const before = process.env['PATH'];
  t.after(() => {
    process.env['PATH'] = before;
    rmSync(root, { recursive: true });
  });
  process.env['PATH'] = root;
  assert.throws(() => zfsDataset(root), {
    kind: 'Unknown',
    message: `path ${root} must be a zfs filesystem to be used with the zfs snapshotter (there is no program zfs): skip plugin`,
  });
});
