import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { mount, readMountInfo } from '../linux/index.ts';
import { Bundle } from './bundle.ts';

const needsRoot = process.getuid?.() === 0 ? false : 'needs root';

function place() {
  const directory = mkdtempSync(join(tmpdir(), 'bundle-'));
  const roots = { state: join(directory, 'state'), root: join(directory, 'root') };
  return {
    directory,
    bundle: new Bundle(roots, 'space', 'one'),
    work: join(roots.root, 'space', 'one'),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

const spec = (value: unknown) => ({ typeUrl: 'spec', value: Buffer.from(JSON.stringify(value)) });

test('Bundle.create: work of an earlier task of that id is not found again', async () => {
  using at = place();
  mkdirSync(at.work, { recursive: true });
  writeFileSync(join(at.work, 'old'), '');
  await at.bundle.create(spec({}));
  assert.deepEqual(readdirSync(at.work), []);
  assert.equal(await at.bundle.intent(), 'create');
  await at.bundle.remove();
  assert.equal(existsSync(at.work), false);
  assert.equal(existsSync(at.bundle.path), false);
});

for (const [name, linux, mode, gid] of [
  ['no user namespace', {}, 0o700, 0],
  ['a mapped root', { gidMappings: [{ containerID: 0, hostID: 100_000, size: 10 }] }, 0o710, 1e5],
  ['a mapping without root', { gidMappings: [{ containerID: 5, hostID: 7, size: 1 }] }, 0o700, 0],
] as const) {
  test(`Bundle.create: with ${name} the mode is ${mode.toString(8)}`, {
    skip: needsRoot,
  }, async () => {
    using at = place();
    await at.bundle.create(spec({ linux }));
    const { mode: found, gid: group, uid } = statSync(at.bundle.path);
    assert.deepEqual([found & 0o7777, group, uid], [mode, gid, 0]);
  });
}

test('Bundle.create: when the disk refuses, the state is taken back', async () => {
  using at = place();
  mkdirSync(join(at.directory, 'root'));
  writeFileSync(join(at.directory, 'root', 'space'), 'a file');
  await assert.rejects(at.bundle.create(spec({})), {
    message: `make bundle ${at.bundle.path}: EEXIST`,
  });
  assert.equal(existsSync(at.bundle.path), false);
});

test('Bundle.remove: mounts on the rootfs are detached, never deleted through', {
  skip: needsRoot,
}, async () => {
  using at = place();
  await at.bundle.create(undefined);
  const precious = join(at.directory, 'precious');
  mkdirSync(join(precious, 'inner'), { recursive: true });
  writeFileSync(join(precious, 'file'), 'kept');
  for (const [source, target] of [
    [precious, at.bundle.rootfs],
    [precious, at.bundle.rootfs],
    [precious, join(at.bundle.rootfs, 'inner')],
  ] as const) {
    mount({ source, target, flags: ['MS_BIND'] });
  }
  await at.bundle.remove();
  assert.equal(existsSync(join(precious, 'file')), true);
  assert.equal(existsSync(at.bundle.path), false);
  assert.ok(readMountInfo().every(({ mountPoint }) => !mountPoint.startsWith(at.directory)));
  await at.bundle.remove(); // a second time there is nothing to do
});

test('Bundle.remove: a mount inside a rootfs that is none is detached, too', {
  skip: needsRoot,
}, async () => {
  using at = place();
  await at.bundle.create(undefined);
  const precious = join(at.directory, 'precious');
  const target = join(at.bundle.rootfs, 'inner', 'deep');
  for (const path of [precious, target]) mkdirSync(path, { recursive: true });
  writeFileSync(join(precious, 'file'), 'kept');
  mount({ source: precious, target, flags: ['MS_BIND'] });
  await at.bundle.remove();
  assert.equal(existsSync(join(precious, 'file')), true);
  assert.equal(existsSync(at.bundle.path), false);
});

test('Bundle.remove: what is left of a deletion that was cut off does not stand in the way', async () => {
  using at = place();
  await at.bundle.create(undefined);
  const hidden = join(dirname(at.bundle.path), '.one');
  mkdirSync(join(hidden, 'rootfs'), { recursive: true });
  await at.bundle.remove();
  assert.deepEqual(readdirSync(dirname(at.bundle.path)), []);
});

test('Bundle.write: a file is whole or not there', async () => {
  using at = place();
  await at.bundle.create(undefined);
  assert.equal(await at.bundle.read('sandbox'), undefined);
  await at.bundle.write('sandbox', 'pod');
  assert.equal(await at.bundle.read('sandbox'), 'pod');
  assert.deepEqual(
    readdirSync(at.bundle.path).filter((name) => name.endsWith('.new')),
    [],
  );
  assert.equal(statSync(join(at.bundle.path, 'sandbox')).mode & 0o777, 0o600);
});
