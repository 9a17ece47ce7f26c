import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { splitIdMaps, withIdmappedLayers } from './idmapped-layers.ts';
import { mount, unmountAll } from './mount.ts';
import { readMountInfo } from './mountinfo.ts';
import { needsRoot } from './program/child-run.fixture.ts';

const MAPS = { uids: '0 1000 5000\n', gids: '0 2000 5000\n' };

test('splitIdMaps takes the mappings out of the options', () => {
  const options = ['ro', 'uidmap=0:1000:10,10:5000:2', 'lowerdir=/a:/b', 'gidmap=0:7:1'];
  assert.deepEqual(splitIdMaps(options), {
    options: ['ro', 'lowerdir=/a:/b'],
    maps: { uids: '0 1000 10\n10 5000 2\n', gids: '0 7 1\n' },
  });
  assert.deepEqual(splitIdMaps(['ro']), { options: ['ro'], maps: undefined });
});

for (const [options, message] of [
  [['uidmap=0:1000', 'gidmap=0:0:1'], 'mount option uidmap=0:1000: not INSIDE:OUTSIDE:COUNT'],
  [['uidmap=0:0:1'], 'mount option gidmap=: not INSIDE:OUTSIDE:COUNT'],
  [['uidmap=0:0:1', 'gidmap=a:0:1'], 'mount option gidmap=a:0:1: not INSIDE:OUTSIDE:COUNT'],
] as const) {
  test(`splitIdMaps refuses ${options.join(',')}`, () => {
    assert.throws(() => splitIdMaps(options), { kind: 'InvalidArgument', message });
  });
}

function withTree(action: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'idmapped-'));
  mount({ source: 'layers', target: directory, type: 'tmpfs' });
  for (const name of ['a', 'b', 'upper', 'work', 'merged']) mkdirSync(join(directory, name));
  writeFileSync(join(directory, 'a/file-of-a'), 'a');
  writeFileSync(join(directory, 'b/file-of-b'), 'b');
  try {
    action(directory);
  } finally {
    unmountAll(join(directory, 'merged'));
    unmountAll(directory);
    rmSync(directory, { recursive: true });
  }
}

test('withIdmappedLayers: an overlay shows the owners that the mappings give, and nothing else stays mounted', {
  skip: needsRoot,
}, () => {
  withTree((directory) => {
    const merged = join(directory, 'merged');
    const options = [
      `lowerdir=${directory}/a:${directory}/b`,
      `upperdir=${directory}/upper`,
      `workdir=${directory}/work`,
    ];
    withIdmappedLayers(options, MAPS, join(directory, 'scratch'), (mapped) => {
      mount({ source: 'overlay', target: merged, type: 'overlay', data: mapped.join(',') });
    });
    for (const name of ['file-of-a', 'file-of-b']) {
      const { uid, gid } = statSync(join(merged, name));
      assert.deepEqual({ uid, gid }, { uid: 1000, gid: 2000 });
    }
    assert.equal(statSync(join(directory, 'a/file-of-a')).uid, 0);
    assert.deepEqual(readdirSync(directory).sort(), ['a', 'b', 'merged', 'upper', 'work']);
    const mounted = readMountInfo().filter(({ mountPoint }) => mountPoint.includes(directory));
    assert.deepEqual(
      mounted.map(({ mountPoint }) => mountPoint),
      [directory, merged],
    );
  });
});

test('withIdmappedLayers: nothing stays when a layer is missing or the mount fails', {
  skip: needsRoot,
}, () => {
  withTree((directory) => {
    const scratch = join(directory, 'scratch');
    const missing = [`lowerdir=${directory}/a:${directory}/none`];
    assert.throws(() => withIdmappedLayers(missing, MAPS, scratch, () => undefined), {
      message: `copy mount ${directory}/none: ENOENT`,
    });
    const present = [`lowerdir=${directory}/a:${directory}/b`];
    assert.throws(
      () =>
        withIdmappedLayers(present, MAPS, scratch, () => {
          throw new Error('no mount');
        }),
      { message: 'no mount' },
    );
    const none = { ...MAPS, uids: '0 0 0\n' };
    assert.throws(() => withIdmappedLayers(present, none, scratch, () => undefined), {
      message: /^write "0 0 0" to \/proc\/\d+\/uid_map: EINVAL$/,
    });
    assert.throws(() => withIdmappedLayers(['ro'], MAPS, scratch, () => undefined), {
      message: 'mount with id mappings: no lowerdir=',
    });
    assert.deepEqual(readdirSync(directory).sort(), ['a', 'b', 'merged', 'upper', 'work']);
    const mounted = readMountInfo().filter(({ mountPoint }) => mountPoint.includes(directory));
    assert.equal(mounted.length, 1);
  });
});
