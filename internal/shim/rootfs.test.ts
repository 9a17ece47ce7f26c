import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { mountRootfs, unmountRootfs } from './rootfs.ts';

const skip = process.getuid?.() === 0 ? false : 'only root can mount';
const mount = (type: string, source: string, options: string[], target = '') => {
  return { type, source, target, options };
};
const mountsOf = (directory: string): number => {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return lines.filter((line) => line.includes(directory.slice(-6))).length;
};

test('mountRootfs mounts in order, below targets too, and unmountRootfs takes all away', {
  skip,
}, () => {
  const directory = mkdtempSync(join(tmpdir(), 'root fs-'));
  const rootfs = join(directory, 'rootfs');
  const source = join(directory, 'source');
  mkdirSync(join(source, 'below'), { recursive: true });
  writeFileSync(join(source, 'file'), 'content');
  mountRootfs(rootfs, [
    mount('bind', source, ['rbind', 'ro']),
    mount('tmpfs', 'tmpfs', ['size=64k'], 'below'),
  ]);
  assert.equal(mountsOf(directory), 2);
  assert.equal(readFileSync(join(rootfs, 'file'), 'utf8'), 'content');
  writeFileSync(join(rootfs, 'below/x'), 'x');
  assert.throws(() => writeFileSync(join(rootfs, 'y'), 'y'), { code: 'EROFS' });
  unmountRootfs(rootfs);
  assert.equal(mountsOf(directory), 0);
  unmountRootfs(rootfs);
  rmSync(directory, { recursive: true });
});

test('mountRootfs leaves nothing mounted when one fails', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'rootfs-'));
  const rootfs = join(directory, 'rootfs');
  const mounts = [mount('tmpfs', 'tmpfs', []), mount('no-such-type', 'none', [])];
  assert.throws(() => mountRootfs(rootfs, mounts), {
    message: `mount no-such-type on ${rootfs}: ENODEV`,
  });
  assert.equal(mountsOf(directory), 0);
  rmSync(directory, { recursive: true });
});

test('mountRootfs refuses a target outside of the bundle', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'rootfs-'));
  const rootfs = join(directory, 'rootfs');
  assert.throws(() => mountRootfs(rootfs, [mount('tmpfs', 'tmpfs', [], '../../x')]), {
    kind: 'InvalidArgument',
    message: `mount target ../../x: outside of ${rootfs}`,
  });
  rmSync(directory, { recursive: true });
});

test('mountRootfs mounts an overlay whose layers do not fit into a page', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'rootfs-'));
  mountRootfs(directory, [mount('tmpfs', 'tmpfs', [])]);
  const layers = Array.from({ length: 100 }, (_, index) => {
    const layer = join(directory, 'snapshots', `layer-with-a-name-of-some-length-${index}`, 'fs');
    mkdirSync(layer, { recursive: true });
    writeFileSync(join(layer, `file${index}`), '');
    return layer;
  });
  const rootfs = join(directory, 'rootfs');
  const options = [`lowerdir=${layers.join(':')}`];
  assert.ok((options[0]?.length ?? 0) > 4096);
  const before = process.cwd();
  mountRootfs(rootfs, [mount('overlay', 'overlay', options)]);
  assert.equal(process.cwd(), before);
  assert.equal(readFileSync(join(rootfs, 'file99'), 'utf8'), '');
  unmountRootfs(directory);
  rmSync(directory, { recursive: true });
});
