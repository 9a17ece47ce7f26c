// The devmapper snapshotter: on a real thin pool where the kernel has one (the virtual machine's does), and everywhere the
// commands that it gives to dmsetup(8).
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { LocalExchange } from '../../internal/events/local-exchange.ts';
import { Database } from '../../internal/metadata/database.ts';
import { DevmapperDriver } from '../../internal/snapshots/devmapper-driver.ts';
import type { DevmapperOptions } from '../../internal/snapshots/devmapper-options.ts';
import { SnapshotIds } from '../../internal/snapshots/snapshot-records.ts';
import { SnapshotStore } from '../../internal/snapshots/snapshot-store.ts';
import { withMounts } from '../../internal/snapshots/temporary-mount.ts';
import { recordPrograms } from '../fixtures/recorded-programs.ts';
import { snapshotterContract } from '../fixtures/snapshotter-contract.ts';
import { peer } from '../peers/index.ts';

const scope = { namespace: 'default' };
const none = new Map<string, string>();
const script = join(import.meta.dirname, '../fixtures/thin-pool-stand-in.ts');
const MIB = 1024 * 1024;
/** Of the pool: 128 sectors, as its table says. */
const BLOCK_BYTES = 64 * 1024;

const REAL: DevmapperOptions = {
  pool: `snapshots-${process.pid}`,
  baseBytes: BigInt(32 * MIB),
  fileSystem: 'ext4',
  fileSystemOptions: 'nodiscard,lazy_itable_init=0,lazy_journal_init=0',
  discardsBlocks: false,
  removesLater: false,
};
// Without a file system on it there is nothing to mount.
const STANDING_IN: DevmapperOptions = {
  ...REAL,
  pool: 'pool',
  baseBytes: 2097152n,
  fileSystem: 'xfs',
};

const dmsetup = peer('dmsetup');
// A machine that has only the program lacks the rules by which udev makes the nodes in /dev/mapper: dmsetup makes them.
process.env['DM_DISABLE_UDEV'] = '1';
dmsetup.env['DM_DISABLE_UDEV'] = '1';
const skip = dmsetup.skip || noThinPools();

/** Why the kernel has no thin pools, or false. */
function noThinPools(): false | string {
  if (process.getuid?.() !== 0) return 'needs root';
  spawnSync('modprobe', ['dm-thin-pool']); // where there is no module the next lines tell
  // Without a device mapper dmsetup would leave /dev/mapper on the machine.
  if (!/ device-mapper$/m.test(readFileSync('/proc/misc', 'utf8'))) {
    return 'the kernel has no device mapper';
  }
  const { status, stdout } = spawnSync(dmsetup.path, ['targets'], {
    env: dmsetup.env,
    encoding: 'utf8',
  });
  return status === 0 && /^thin-pool /m.test(stdout) ? false : 'the kernel has no dm-thin-pool';
}

function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { env: dmsetup.env, encoding: 'utf8' }).trim();
}

/** A thin pool on two loop devices, for all tests of this file. */
function makePool(): () => void {
  const directory = mkdtempSync(join(tmpdir(), 'thin-pool-'));
  const loop = (name: string, bytes: number): string => {
    const path = join(directory, name);
    writeFileSync(path, '');
    truncateSync(path, bytes);
    return run('losetup', '--find', '--show', path);
  };
  const loops = [loop('metadata', 16 * MIB), loop('data', 1024 * MIB)];
  const close = () => {
    run(dmsetup.path, 'remove', '--retry', REAL.pool);
    for (const each of loops) run('losetup', '--detach', each);
    rmSync(directory, { recursive: true });
  };
  const table = `0 ${(1024 * MIB) / 512} thin-pool ${loops.join(' ')} 128 0 1 skip_block_zeroing`;
  run(dmsetup.path, 'create', REAL.pool, '--table', table);
  return close;
}

if (skip === false) {
  process.env['PATH'] = dmsetup.env['PATH'];
  after(makePool());
}

async function open(
  options: DevmapperOptions,
  directory = mkdtempSync(join(tmpdir(), 'devmapper-')),
) {
  const database = new Database(join(directory, 'metadata.db'));
  const driver = await DevmapperDriver.open(join(directory, 'devmapper'), options);
  const ids = new SnapshotIds(database);
  const snapshotter = new SnapshotStore(database, driver, new LocalExchange(), ids);
  await snapshotter.open();
  return {
    snapshotter,
    driver,
    directory,
    async close() {
      await snapshotter.close();
      for (const id of await driver.ids()) await driver.remove(id);
      driver.close();
      database.close();
      rmSync(directory, { recursive: true });
    },
  };
}

if (skip !== false) test('devmapper', { skip }, () => {});
else {
  snapshotterContract('devmapper', () => open(REAL), {
    hasOurMessages: true,
    layers: 12,
  });
}

test('devmapper: usage is what a snapshot has of its own; blocks come back', {
  skip,
}, async (t) => {
  const { snapshotter: s, close } = await open({ ...REAL, discardsBlocks: true });
  t.after(close);
  const usedBlocks = () => run(dmsetup.path, 'status', REAL.pool).split(' ')[5];
  const before = usedBlocks();
  const mounts = await s.prepare(scope, 'a', '', none);
  const large = (name: string) => (root: string) => {
    writeFileSync(join(root, name), Buffer.alloc(4 * MIB, 1));
    return Promise.resolve();
  };
  await withMounts(mounts, large('one'));
  await s.commit(scope, 'A', 'a', none);
  await withMounts(await s.prepare(scope, 'b', 'A', none), large('two'));
  await s.commit(scope, 'B', 'b', none);
  const { sizeBytes } = await s.usage(scope, 'B');
  // The ends of the file may be in blocks that the parent has, too.
  const least = BigInt(4 * MIB - 2 * BLOCK_BYTES);
  assert.ok(sizeBytes >= least && sizeBytes < BigInt(8 * MIB), String(sizeBytes));
  await s.remove(scope, 'B');
  await s.remove(scope, 'A');
  await s.close();
  assert.equal(usedBlocks(), before);
});

test('devmapper: devices are there again after a boot', { skip }, async (t) => {
  const { snapshotter: s, close } = await open(REAL);
  t.after(close);
  await withMounts(await s.prepare(scope, 'a', '', none), async (root) =>
    writeFileSync(join(root, 'kept'), 'x'),
  );
  run(dmsetup.path, 'remove', '--retry', `${REAL.pool}-snap-1`); // as a boot leaves it
  await withMounts(await s.mounts(scope, 'a'), async (root) =>
    assert.deepEqual(execFileSync('ls', ['-A', root], { encoding: 'utf8' }), 'kept\n'),
  );
});

/** A snapshotter over programs that only note what they are told. */
async function standIn(t: TestContext, options = STANDING_IN) {
  const programs = recordPrograms(['dmsetup', 'mkfs.xfs', 'blkdiscard'], script);
  const opened = await open(options, mkdtempSync(join(tmpdir(), 'devmapper-')));
  t.after(async () => {
    await opened.close();
    programs[Symbol.dispose]();
  });
  assert.deepEqual(programs.take(), ['dmsetup status pool']);
  return { ...opened, programs };
}

test('devmapper: a base, a layer on it, their removal: the commands', async (t) => {
  const {
    snapshotter: s,
    driver,
    programs,
  } = await standIn(t, {
    ...STANDING_IN,
    discardsBlocks: true,
  });
  const mount = (id: number, ...options: string[]) => [
    { type: 'xfs', source: `/dev/mapper/pool-snap-${id}`, target: '', options },
  ];
  assert.deepEqual(await s.prepare(scope, 'a', '', none), mount(1, 'nouuid'));
  assert.deepEqual(programs.take(), [
    'dmsetup message pool 0 create_thin 1',
    'dmsetup status pool-snap-1',
    'dmsetup create pool-snap-1 --table 0 4096 thin /dev/mapper/pool 1',
    'mkfs.xfs /dev/mapper/pool-snap-1',
    'dmsetup status pool-snap-1',
  ]);
  await s.commit(scope, 'A', 'a', none);
  assert.deepEqual(programs.take().slice(2), [
    'dmsetup status pool-snap-1',
    'dmsetup suspend pool-snap-1',
    'dmsetup resume pool-snap-1',
    'dmsetup status pool-snap-1',
    'dmsetup remove --deferred pool-snap-1',
  ]);
  assert.deepEqual(await s.view(scope, 'v', 'A', none), mount(2, 'nouuid', 'ro'));
  assert.deepEqual(programs.take().slice(0, 4), [
    'dmsetup status pool-snap-1',
    'dmsetup message pool 0 create_snap 2 1',
    'dmsetup status pool-snap-2',
    'dmsetup create pool-snap-2 --table 0 4096 thin /dev/mapper/pool 2',
  ]);
  await s.remove(scope, 'v');
  await s.close();
  assert.deepEqual(programs.take(), [
    'dmsetup status pool-snap-2',
    'blkdiscard /dev/mapper/pool-snap-2',
    'dmsetup remove --retry pool-snap-2',
    'dmsetup message pool 0 delete 2',
  ]);
  assert.deepEqual(await driver.ids(), [1n]);
});

test('devmapper: a number that the pool has already is left to whoever it is', async (t) => {
  const { snapshotter: s, programs } = await standIn(t);
  writeFileSync(join(programs.directory, 'pool'), '{"numbers":[1,2],"active":{}}');
  await s.prepare(scope, 'a', '', none);
  const messages = () => programs.take().filter((line) => line.includes('message'));
  assert.deepEqual(messages(), [
    'dmsetup message pool 0 create_thin 1',
    'dmsetup message pool 0 create_thin 2',
    'dmsetup message pool 0 create_thin 3',
  ]);
  await s.remove(scope, 'a');
  await s.close();
  assert.deepEqual(messages(), ['dmsetup message pool 0 delete 3']);
});

test('devmapper: async_remove leaves the deletion to the next collection', async (t) => {
  const {
    snapshotter: s,
    driver,
    programs,
  } = await standIn(t, {
    ...STANDING_IN,
    removesLater: true,
  });
  await s.prepare(scope, 'a', '', none);
  programs.take();
  await s.remove(scope, 'a');
  await s.close();
  assert.deepEqual([programs.take(), await driver.ids()], [[], [1n]]);
  await s.cleanup(scope);
  assert.deepEqual(programs.take(), [
    'dmsetup remove --retry pool-snap-1',
    'dmsetup message pool 0 delete 1',
  ]);
  assert.deepEqual(await driver.ids(), []);
});

test('devmapper: no pool, no pool of this kind, no dmsetup: said in so many words', async (t) => {
  const { programs } = await standIn(t);
  await assert.rejects(DevmapperDriver.open('/unused', { ...STANDING_IN, pool: 'absent' }), {
    kind: 'Unknown',
    message: 'dmsetup status absent: Device absent not found',
  });
  writeFileSync(join(programs.directory, 'pool'), '{"numbers":[1],"active":{"other":1}}');
  await assert.rejects(DevmapperDriver.open('/unused', { ...STANDING_IN, pool: 'other' }), {
    kind: 'InvalidArgument',
    message: 'devmapper: other is a thin, not a thin-pool',
  });
  writeFileSync(join(programs.directory, 'pool'), '{"numbers":[],"active":{}}');
  const before = process.env['PATH'];
  process.env['PATH'] = '/nonexistent';
  try {
    await assert.rejects(DevmapperDriver.open('/unused', STANDING_IN), {
      kind: 'NotFound',
      message: 'run dmsetup: ENOENT',
      advice: "install dmsetup on the daemon's PATH",
    });
  } finally {
    process.env['PATH'] = before;
  }
});
