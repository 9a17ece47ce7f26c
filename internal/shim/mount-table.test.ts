import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseMountInfo } from '../linux/index.ts';
import { MountTable } from './mount-table.ts';

const directory = mkdtempSync(join(tmpdir(), 'mount-table-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
for (const name of ['local/sub', 'nfs', 'snapshots/1/fs', 'snapshots/2/fs', 'merged', 'far']) {
  mkdirSync(join(directory, name), { recursive: true });
}
symlinkSync(join(directory, 'nfs/share'), join(directory, 'local/absolute'));
symlinkSync('../nfs/share', join(directory, 'local/relative'));
symlinkSync('sub', join(directory, 'local/near'));
symlinkSync('loop', join(directory, 'local/loop'));

/** A mount table of the machine's root and what is below the directory. */
function table(...mounts: [point: string, type: string, superOptions?: string][]): MountTable {
  const lines = [['/', 'ext4'] as const, ...mounts].map(([point, type, options], index) => {
    const path = index === 0 ? '/' : join(directory, point);
    return `${index + 2} 1 8:${index} / ${path} rw - ${type} none ${options ?? 'rw'}\n`;
  });
  return new MountTable(parseMountInfo(lines.join('')));
}

const nfs = table(['nfs', 'nfs4']);
for (const [path, expected] of [
  ['local/sub', false],
  ['local/near', false],
  ['local/missing/x', false],
  ['nfs', true],
  ['nfs/x/y', true],
  ['local/absolute', true],
  ['local/relative/x', true],
  ['nfs/../local', true],
  ['local/loop', true],
] as const) {
  test(`${path} ${expected ? 'may hang' : 'answers'}`, () => {
    assert.equal(nfs.mayHang(`${directory}/${path}`), expected);
  });
}

test('a relative path cannot be known', () => {
  assert.equal(nfs.mayHang('local/sub'), true);
});

test('what covers a mount counts, not what it covers', () => {
  assert.equal(table(['nfs', 'nfs4'], ['nfs', 'tmpfs']).mayHang(join(directory, 'nfs/x')), false);
  assert.equal(table(['nfs', 'tmpfs'], ['nfs', 'fuse.x']).mayHang(join(directory, 'nfs/x')), true);
});

test('below a directory that answers there may be one that does not', () => {
  const mounts = table(['local/sub', 'fuse.sshfs']);
  assert.equal(mounts.mayHang(join(directory, 'local')), false);
  assert.equal(mounts.mayHangBelow(join(directory, 'local')), true);
  assert.equal(mounts.mayHangBelow(join(directory, 'far')), false);
  assert.equal(mounts.mayHangBelow(join(directory, 'local/sub')), true);
});

test('an overlay is as good as its layers', () => {
  const layer = (number: number) => join(directory, `snapshots/${number}/fs`);
  const options = [`lowerdir=${layer(1)}:${layer(2)}`, `upperdir=${join(directory, 'far')}`];
  const merged = (...mounts: Parameters<typeof table>) =>
    table(...mounts, ['merged', 'overlay', `rw,${options.join(',')}`]);
  assert.equal(merged().mayHang(join(directory, 'merged/bin')), false);
  assert.equal(merged(['snapshots/2/fs', 'fuse.stargz']).mayHang(join(directory, 'merged')), true);
  assert.equal(table().layersMayHang(options), false);
  assert.equal(table(['far', 'ceph']).layersMayHang(options), true);
  assert.equal(table().layersMayHang(['lowerdir=1:2']), true);
});

test('links of procfs lead anywhere', () => {
  assert.equal(new MountTable().mayHang(`/proc/${process.pid}/root/etc`), true);
  assert.equal(new MountTable().mayHang('/proc/self/status'), false);
});
