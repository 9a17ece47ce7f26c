// The btrfs snapshotter, on a btrfs of its own on a loop device.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LocalExchange } from '../../internal/events/local-exchange.ts';
import { Database } from '../../internal/metadata/database.ts';
import { BtrfsDriver, btrfsDevice } from '../../internal/snapshots/btrfs-driver.ts';
import { SnapshotIds } from '../../internal/snapshots/snapshot-records.ts';
import { SnapshotStore } from '../../internal/snapshots/snapshot-store.ts';
import { withMounts } from '../../internal/snapshots/temporary-mount.ts';
import { WorkerPool } from '../../internal/snapshots/worker-pool.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { mountLoopFileSystem, noLoopFileSystem } from '../fixtures/loop-file-system.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { snapshotterContract } from '../fixtures/snapshotter-contract.ts';
import { shimKinds } from '../fixtures/tasks.ts';
import { peer } from '../peers/index.ts';

const mkfs = peer('mkfs-btrfs');
const skip = noLoopFileSystem('btrfs', mkfs);
const scope = { namespace: 'default' };
const none = new Map<string, string>();

const fileSystem = skip === false ? mountLoopFileSystem('btrfs', mkfs) : undefined;
after(() => fileSystem?.close());

async function open() {
  const directory = mkdtempSync(join(fileSystem?.path ?? '', 'root-'));
  const workers = new WorkerPool(1);
  const database = new Database(join(directory, 'metadata.db'));
  const root = join(directory, 'btrfs');
  const driver = new BtrfsDriver(root, btrfsDevice(root), workers);
  const ids = new SnapshotIds(database);
  const snapshotter = new SnapshotStore(database, driver, new LocalExchange(), ids);
  await snapshotter.open();
  const subvolumes = join(root, 'subvolumes');
  return {
    snapshotter,
    driver,
    subvolumes,
    async close() {
      await snapshotter.close();
      for (const id of await driver.ids()) await driver.remove(id);
      await workers.close();
      database.close();
      rmSync(directory, { recursive: true });
    },
  };
}

if (skip !== false) test('btrfs', { skip }, () => {});
else snapshotterContract('btrfs', open, { hasOurMessages: true });

test('btrfs: a layer of many costs what was changed in it, not what is below', {
  skip,
}, async (t) => {
  const { snapshotter: s, close } = await open();
  t.after(close);
  const mounts = await s.prepare(scope, 'a', '', none);
  await withMounts(mounts, async (root) => {
    mkdirSync(join(root, 'dir'));
    writeFileSync(join(root, 'dir/large'), Buffer.alloc(1 << 20, 1));
    writeFileSync(join(root, 'other'), Buffer.alloc(1 << 16, 1));
  });
  await s.commit(scope, 'A', 'a', none);
  const upper = await s.prepare(scope, 'b', 'A', none);
  assert.equal((await s.usage(scope, 'b')).sizeBytes, 0n);
  await withMounts(upper, async (root) => {
    writeFileSync(join(root, 'other'), Buffer.alloc(1 << 16, 2));
    writeFileSync(join(root, 'new'), Buffer.alloc(1 << 18, 2));
  });
  await s.commit(scope, 'B', 'b', none);
  const { sizeBytes, inodes } = await s.usage(scope, 'B');
  assert.equal(inodes, 2n); // other, new
  assert.equal(sizeBytes, BigInt((1 << 16) + (1 << 18)));
});

test('btrfs: subvolumes that a container made go with its snapshot', { skip }, async (t) => {
  const { snapshotter: s, subvolumes, close } = await open();
  t.after(close);
  const mounts = await s.prepare(scope, 'a', '', none);
  const btrfs = join(mkfs.path, '../../bin/btrfs');
  const run = (...args: string[]) => execFileSync(btrfs, args, { env: mkfs.env, stdio: 'pipe' });
  await withMounts(mounts, async (root) => {
    mkdirSync(join(root, 'dir'));
    run('subvolume', 'create', join(root, 'dir/inner'));
    run('subvolume', 'create', join(root, 'dir/inner/innermost'));
    run('property', 'set', join(root, 'dir/inner'), 'ro', 'true');
  });
  await s.commit(scope, 'A', 'a', none);
  await s.remove(scope, 'A');
  await s.close();
  assert.deepEqual(readdirSync(subvolumes), []);
});

test('btrfs: a commit that a crash ended can be done again', { skip }, async (t) => {
  const { snapshotter: s, driver, close } = await open();
  t.after(close);
  await s.prepare(scope, 'a', '', none);
  await driver.commit(1n); // and then the daemon died
  const mounts = await s.mounts(scope, 'a');
  await withMounts(mounts, async (root) => writeFileSync(join(root, 'written'), ''));
  await s.commit(scope, 'A', 'a', none);
  const view = await s.view(scope, 'v', 'A', none);
  await withMounts(view, async (root) => assert.ok(existsSync(join(root, 'written'))));
});

test('btrfs: mounts are containerd’s', { skip }, async (t) => {
  const { snapshotter: s, close } = await open();
  t.after(close);
  const [mount] = await s.prepare(scope, 'a', '', none);
  assert.match(mount?.source ?? '', /^\/dev\/loop\d+$/);
  assert.match(mount?.options.join() ?? '', /^subvolid=\d+$/);
  assert.deepEqual([mount?.type, mount?.target], ['btrfs', '']);
  await s.commit(scope, 'A', 'a', none);
  const [view] = await s.view(scope, 'v', 'A', none);
  assert.match(view?.options.join() ?? '', /^subvolid=\d+,ro$/);
});

test('btrfs: another file system is refused by its name', (t) => {
  const root = mkdtempSync('/dev/shm/btrfs-');
  t.after(() => rmSync(root, { recursive: true }));
  assert.throws(() => btrfsDevice(root), {
    kind: 'Unknown',
    message: `path ${root} (tmpfs) must be a btrfs filesystem to be used with the btrfs snapshotter: skip plugin`,
  });
});

const kinds = shimKinds();
const own = kinds.find(({ name }) => name === 'containerd-shim-tsrunc-v2');
const original = kinds.find(({ name }) => name === 'containerd-shim-runc-v2 2.1');
for (const [daemonKind, shim] of [
  ['tscontainerd', own],
  ['containerd-2.1', original],
] as const) {
  const why = skip || skipWithout(daemonKind) || shim?.skip || peer('ctr-2.1').skip;
  test(`btrfs: ${daemonKind} imports an image, runs it and commits a change`, {
    skip: why,
  }, async (t) => {
    const root = mkdtempSync(join(fileSystem?.path ?? '', 'daemon-'));
    t.after(() => rmSync(root, { recursive: true }));
    await using daemon = await TestDaemon.start(daemonKind, {
      config: `[plugins."io.containerd.snapshotter.v1.btrfs"]\nroot_path = "${root}"\n`,
      env: { PATH: shim?.path ?? '' },
    });
    const id = `btrfs-${process.pid}`;
    const ctr = (...args: string[]): string => {
      const result = daemon.ctr('ctr-2.1', args);
      assert.equal(result.status, 0, `${args.join(' ')}: ${result.stderr}`);
      return result.stdout;
    };
    assert.match(
      ctr('plugins', 'ls', 'id==btrfs'),
      /^io\.containerd\.snapshotter\.v1 +btrfs +\S+ +ok *$/m,
    );
    const name = 'example.com/a/b:1';
    const layer = [{ path: 'top', kind: 'file' as const, content: Buffer.from('from the image') }];
    const image = await buildImage({ name, layers: [busyboxRootfs().entries, layer] });
    const archive = join(daemon.directory, 'image.tar');
    writeFileSync(archive, await imageArchive(image));
    ctr('images', 'import', '--local', '--snapshotter', 'btrfs', archive);

    const run = ['run', '--rm', '--snapshotter', 'btrfs', '--runtime', shim?.runtime ?? ''];
    const script = 'echo more > /written; cat /top /written';
    const command = ['--cgroup', id, name, id, '/bin/sh', '-c', script];
    assert.equal(ctr(...run, ...command), 'from the imagemore\n');
    const shown = ctr('snapshots', '--snapshotter', 'btrfs', 'ls').trimEnd().split('\n');
    assert.equal(shown.filter((line) => / Committed *$/.test(line)).length, 2);
    const usage = ctr('snapshots', '--snapshotter', 'btrfs', 'usage');
    const sizes = [...usage.matchAll(/^sha256:\w+ +(.*\S) *$/gm)].map(([, size]) => size);
    assert.match(sizes.sort().join(), /^\d+\.\d MiB 45,4\.0 KiB 1$/);
    ctr('images', 'rm', '--sync', name);
    assert.deepEqual(
      ctr('snapshots', '--snapshotter', 'btrfs', 'ls').trimEnd().split('\n').length,
      1,
    );
  });
}
