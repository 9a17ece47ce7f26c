// CVE-2026-119101, crun CVE-2026-115520, CRIU CVE-2026-119614: symlinks of the image make the places of two mounts from the
// host look the same to the runtime, and a restore binds one directory of the host where another belongs; images that were
// changed do the same and more. After a restore the mounts are those of config.json, or nothing runs.
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readMountInfo } from '../../internal/linux/index.ts';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import { type Config, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const skip = useCriu();
const made = skip === false ? new RuntimeFixture() : undefined;
after(() => made?.[Symbol.dispose]());
const runtime = made as RuntimeFixture;

const volume = (name: string) => join(runtime.directory, name);
const IMAGES = () => ['--image-path', volume('images'), '--work-path', volume('work')];

/** Starts a container to which the host gives `secret` for reading and `own` for writing. */
function start(id: string, change: (config: Config) => void): void {
  for (const name of ['secret', 'own']) {
    rmSync(volume(name), { recursive: true, force: true });
    mkdirSync(volume(name));
    writeFileSync(join(volume(name), name), name);
  }
  rmSync(volume('images'), { recursive: true, force: true });
  runtime.startSleeping(id, (config) => {
    config.annotations = criuAnnotations(runtime.directory);
    change(config);
  });
}

const bind = (destination: string, source: string, option: string) => ({
  destination,
  type: 'bind',
  source: volume(source),
  options: ['bind', option],
});

function places(id: string): string[] {
  const { pid } = JSON.parse(runtime.run(['state', id]).stdout);
  return readMountInfo(pid)
    .filter(({ root }) => /\/(own|secret)$/.test(root))
    .map(({ mountPoint, root, options }) => `${mountPoint} ${root.split('/').at(-1)} ${options[0]}`)
    .sort();
}

test('a destination that is a symlink to the place of a device, of a mask and of another mount', {
  skip,
}, () => {
  for (const [index, target] of ['/dev/full', '/proc/keys', '/other'].entries()) {
    const id = runtime.newId('link');
    const link = join(runtime.rootfs, `link${index}`);
    mkdirSync(join(runtime.rootfs, 'other'), { recursive: true });
    symlinkSync(target, link);
    start(id, (config) => {
      const mounts = [bind(`/link${index}`, 'own', 'rw'), bind('/other', 'secret', 'ro')];
      if (target !== '/other')
        mounts[0] = { ...mounts[0], source: join(volume('own'), 'own') } as never;
      if (target === '/proc/keys') mounts.shift(); // nothing may be mounted inside of /proc
      config.mounts.push(...mounts);
    });
    const before = places(id);
    const { status, error } = runtime.run(['checkpoint', ...IMAGES(), id]);
    if (status === 0) {
      assert.equal(runtime.runDetached(['restore', '-d', ...IMAGES(), id]).error, '');
      assert.deepEqual(places(id), before);
    } else assert.match(error, /^mounts\[\d\].*(both on|shows)/);
    assert.equal(runtime.runDetached(['delete', '--force', id]).error, '');
    assert.deepEqual(runtime.leftovers(id), []);
    rmSync(link);
  }
});

test('the place of a mount is moved away and a symlink to another mount put there', {
  skip,
}, () => {
  const id = runtime.newId('moved');
  for (const path of ['shared', 'secrets/in']) {
    mkdirSync(join(runtime.rootfs, path), { recursive: true });
  }
  start(id, (config) => {
    mkdirSync(join(volume('own'), 'd/in'), { recursive: true });
    config.mounts.push(
      bind('/shared', 'own', 'rw'),
      bind('/shared/d/in', 'own', 'rw'),
      bind('/secrets/in', 'secret', 'ro'),
    );
  });
  // Who has the volume can do it without any privilege: the mount goes along with its directory.
  renameSync(join(volume('own'), 'd'), join(volume('own'), 'e'));
  symlinkSync('/secrets', join(volume('own'), 'd'));
  const before = places(id);
  assert.deepEqual(before, ['/secrets/in secret ro', '/shared own rw', '/shared/e/in own rw']);
  // To CRIU it is a part of /shared; its name in config.json it has lost.
  assert.equal(runtime.run(['checkpoint', ...IMAGES(), id]).error, '');
  const { status, error } = runtime.runDetached(['restore', '-d', ...IMAGES(), id]);
  if (status === 0) assert.deepEqual(places(id), before);
  else assert.match(error, /^after the restore|criu: /);
  if (status === 0) assert.equal(runtime.runDetached(['delete', '--force', id]).error, '');
  assert.deepEqual(runtime.leftovers(id), []);
});

/** Replaces text of the same length in all images of mounts. */
function forge(...changes: [string, string][]): void {
  let found = 0;
  for (const name of readdirSync(volume('images'))) {
    if (!name.startsWith('mountpoints-')) continue;
    const path = join(volume('images'), name);
    let text = readFileSync(path, 'latin1');
    for (const [from, to] of changes) {
      assert.equal(from.length, to.length);
      if (text.includes(from)) found++;
      text = text.replaceAll(from, to);
    }
    writeFileSync(path, text, 'latin1');
  }
  assert.ok(found >= changes.length, 'the forgery changes something');
}

const FORGERIES: [string, [string, string][], RegExp][] = [
  [
    'the names of two mounts changed with each other',
    [
      ['mount-1-/own', 'mount-1-/XXX'],
      ['mount-1-/sec', 'mount-1-/own'],
      ['mount-1-/XXX', 'mount-1-/sec'],
    ],
    /^after the restore \/(own|sec) shows .*, not \S+ \(mounts\[[78]\]\)/,
  ],
  // Before the text is its length: the name of the mount, which has the place in it, stays.
  [
    'a mount that is moved to another place',
    [['\x04/sec', '\x04/tmp']],
    /^after the restore|criu: /,
  ],
  [
    'a mask that gets a directory of the host',
    [['mask-/tmp/ab', 'mount-1-/own']],
    /^after the restore|criu: /,
  ],
];

for (const [what, changes, expected] of FORGERIES) {
  test(`images are changed: ${what}`, { skip }, () => {
    const id = runtime.newId('forged');
    for (const name of ['own', 'sec']) mkdirSync(join(runtime.rootfs, name), { recursive: true });
    const ran = join(runtime.rootfs, 'tmp/ran');
    writeFileSync(join(runtime.rootfs, 'tmp/ab'), '');
    start(id, (config) => {
      const script = 'while :; do echo x > /tmp/ran; sleep 0.05; done';
      config.process.args = ['sh', '-c', script];
      config.mounts = config.mounts.slice(0, 7);
      config.mounts.push(bind('/own', 'own', 'rw'), bind('/sec', 'secret', 'ro'));
      config.linux.maskedPaths = ['/proc/keys', '/tmp/ab'];
    });
    assert.equal(runtime.run(['checkpoint', ...IMAGES(), id]).error, '');
    forge(...changes);
    rmSync(ran, { force: true });
    const { status, error } = runtime.runDetached(['restore', '-d', ...IMAGES(), id]);
    assert.equal(status, 1);
    assert.match(error, expected);
    assert.equal(existsSync(ran), false, 'nothing has run');
    assert.deepEqual(runtime.leftovers(id), []);
  });
}

test('a CRIU configuration that others may write is not used', { skip }, () => {
  const id = runtime.newId('config');
  const config = volume('attacker.conf');
  writeFileSync(config, `action-script /bin/true\n`, { mode: 0o666 });
  chmodSync(config, 0o666);
  start(id, ({ annotations }) => {
    annotations['org.criu.config'] = config;
  });
  const { error } = runtime.run(['checkpoint', ...IMAGES(), id]);
  assert.match(error, /^CRIU configuration \S+attacker\.conf is not a file that only root writes/);
  assert.equal(runtime.runDetached(['delete', '--force', id]).error, '');
});
