// A root file system whose dev, proc, sys and the like are symlinks out of it, or are swapped while the runtime works:
// CVE-2019-16884, CVE-2019-19921, CVE-2023-28642, CVE-2025-31133, CVE-2025-52565,
// CVE-2026-41579, crun CVE-2026-88264 and CVE-2026-88265. Whatever the image does: nothing of the host is made, opened
// for writing, changed or mounted on.
import assert from 'node:assert/strict';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { fillWatched, lookAt } from '../fixtures/watched-directory.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };

/** A directory of the host that the image points to. */
const watched = join(fixture?.directory ?? '', 'watched');

/** Replaces a path of the rootfs by a symlink while `action` runs. */
function withSymlink(path: string, target: string, action: () => void): void {
  const place = join(runtime.rootfs, path);
  const saved = `${place}.saved`;
  mkdirSync(dirname(place), { recursive: true });
  const isThere = lstatSync(place, { throwIfNoEntry: false }) !== undefined;
  if (isThere) renameSync(place, saved);
  symlinkSync(target, place);
  try {
    action();
  } finally {
    rmSync(place);
    if (isThere) renameSync(saved, place);
  }
}

const withoutDevMount = (config: Config): void => {
  config.mounts = config.mounts.filter(
    ({ destination }: Config) => !destination.startsWith('/dev'),
  );
};
const usual = (): void => {};

const PATHS = [
  'dev',
  'dev/null',
  'dev/console',
  'dev/pts',
  'dev/ptmx',
  'proc',
  'sys',
  'etc/passwd',
];
for (const path of PATHS) {
  for (const [kind, change] of [
    ['with its usual mounts', usual],
    ['without a mount on /dev', withoutDevMount],
  ] as const) {
    for (const target of ['absolute', 'relative'] as const) {
      test(`/${path} is an ${target} symlink to the host, ${kind}`, options, () => {
        fillWatched(watched);
        const before = lookAt(watched);
        const file = path === 'dev/null' ? 'null' : path === 'etc/passwd' ? 'passwd' : '';
        const absolute = join(watched, file);
        const up = '../'.repeat(20);
        withSymlink(path, target === 'absolute' ? absolute : `${up}${absolute.slice(1)}`, () => {
          const id = runtime.newId();
          runtime.configure((config) => {
            config.process.args = ['true'];
            config.linux.devices = [{ type: 'c', path: '/dev/extra', major: 1, minor: 3 }];
            change(config);
          });
          const { error } = runtime.run(['run', id]);
          assert.doesNotMatch(error, /internal error/);
          assert.deepEqual(runtime.leftovers(id), []);
        });
        assert.deepEqual(lookAt(watched), before);
        cleanDev();
      });
    }
  }
}

/** Device nodes that a run without a mount on /dev leaves in the image's own directory. */
function cleanDev(): void {
  rmSync(join(runtime.rootfs, 'dev'), { recursive: true, force: true });
  mkdirSync(join(runtime.rootfs, 'dev'));
  for (const name of readdirSync(runtime.rootfs)) {
    if (!['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp', 'var'].includes(name)) {
      rmSync(join(runtime.rootfs, name), { recursive: true, force: true });
    }
  }
}

for (const path of ['proc', 'sys']) {
  test(
    `/${path} is a symlink inside the image: refused, since the runtime trusts what is there`,
    options,
    () => {
      mkdirSync(join(runtime.rootfs, 'fake'), { recursive: true });
      withSymlink(path, 'fake', () => {
        const { status, error } = runtime.runScript('true');
        assert.equal(status, 1);
        assert.match(error, new RegExp(`^mount (proc|sysfs) on /${path}: open /${path}: ELOOP`));
      });
    },
  );
}

test('HOME is not read from a passwd file of the host', options, () => {
  fillWatched(watched);
  withSymlink('etc/passwd', join(watched, 'passwd'), () => {
    assert.equal(runtime.runScript('echo $HOME').stdout, '/\n');
  });
});

test('masked paths are masked by the real /dev/null, whatever the image has there', options, () => {
  const corePattern = readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
  withSymlink('dev/null', '/proc/sys/kernel/core_pattern', () => {
    const { error } = runtime.runScript('true', (config) => {
      withoutDevMount(config);
      config.linux.maskedPaths = ['/proc/kcore', '/proc/keys'];
    });
    assert.match(error, /^\/dev\/null is not a character device: EINVAL/);
  });
  cleanDev();
  // Where the container can change its own /dev/null before its next start.
  writeFileSync(join(runtime.rootfs, 'dev/null'), 'no device');
  const { error } = runtime.runScript('true', withoutDevMount);
  assert.match(error, /^\/dev\/null is not a character device: EINVAL/);
  cleanDev();
  assert.equal(readFileSync('/proc/sys/kernel/core_pattern', 'utf8'), corePattern);
});

test('a terminal on an image whose /dev/pts is a directory of its own: refused', options, () => {
  const { error } = runtime.runScript('true', (config) => {
    config.process.terminal = true;
    config.mounts = config.mounts.filter(({ destination }: Config) => destination !== '/dev/pts');
  });
  assert.match(error, /^open terminal \/dev\/pts\/ptmx: (ENOENT|ELOOP)/);
});
