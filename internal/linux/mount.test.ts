import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { mount, unmount, unmountAll } from './mount.ts';
import { readMountInfo } from './mountinfo.ts';
import { needsRoot } from './program/child-run.fixture.ts';
import { isOnFileSystem } from './statfs.ts';

function withDirectory(action: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'mount-'));
  try {
    action(directory);
  } finally {
    unmountAll(directory);
    rmSync(directory, { recursive: true });
  }
}

const mountsOn = (path: string) => readMountInfo().filter(({ mountPoint }) => mountPoint === path);

test('mount, unmountAll: what is stacked is taken down; nothing there is no error', {
  skip: needsRoot,
}, () => {
  withDirectory((directory) => {
    const flags = ['MS_NOSUID', 'MS_NODEV'] as const;
    mount({ source: 'first', target: directory, type: 'tmpfs', flags, data: 'size=64k,mode=700' });
    mount({ source: 'second', target: directory, type: 'tmpfs' });
    const [first, second] = mountsOn(directory);
    assert.equal(first?.source, 'first');
    assert.deepEqual(first.options.slice(0, 3), ['rw', 'nosuid', 'nodev']);
    assert.ok(first.superOptions.includes('size=64k'));
    assert.equal(second?.source, 'second');
    assert.ok(isOnFileSystem(directory, 'TMPFS_MAGIC'));
    unmountAll(directory);
    assert.deepEqual(mountsOn(directory), []);
    unmountAll(directory);
    unmountAll(join(directory, 'nonexistent'));
  });
});

test('unmountAll: a symlink is not followed', { skip: needsRoot }, () => {
  withDirectory((directory) => {
    const target = join(directory, 'target');
    const link = join(directory, 'link');
    mkdirSync(target);
    symlinkSync('target', link);
    mount({ source: 'tmpfs', target, type: 'tmpfs' });
    unmountAll(link);
    assert.equal(mountsOn(target).length, 1);
    unmount(target);
  });
});

test('mount, unmount: errors name what was wanted', { skip: needsRoot }, () => {
  withDirectory((directory) => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    assert.throws(() => mount({ source: 'proc', target: file, type: 'proc' }), {
      message: `mount proc on ${file}: ENOTDIR`,
    });
    assert.throws(() => mount({ target: directory, flags: ['MS_REMOUNT', 'MS_RDONLY'] }), {
      message: `change mount ${directory}: EINVAL`,
    });
    assert.throws(() => unmount(directory), { message: `unmount ${directory}: EINVAL` });
    assert.throws(() => isOnFileSystem(join(directory, 'x'), 'TMPFS_MAGIC'), { kind: 'NotFound' });
  });
});
