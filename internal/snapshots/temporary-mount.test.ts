import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { mountAll, parseMountOptions, sweepMounts } from './temporary-mount.ts';

const rows: [string[], string[], string][] = [
  [['rbind', 'ro'], ['MS_BIND', 'MS_REC', 'MS_RDONLY'], ''],
  [['ro', 'rw'], [], ''],
  [['nosuid', 'size=1m', 'mode=755'], ['MS_NOSUID'], 'size=1m,mode=755'],
  [['workdir=/w', 'lowerdir=/a:/b', 'index=off'], [], 'workdir=/w,lowerdir=/a:/b,index=off'],
  [['defaults'], [], ''],
];
for (const [options, flags, data] of rows) {
  test(`parseMountOptions: ${options.join(',')}`, () => {
    assert.deepEqual(parseMountOptions(options), { flags, data });
  });
}

test('sweepMounts: what a killed process left mounted is undone, not deleted', {
  skip: process.getuid?.() === 0 ? false : 'only root can mount',
}, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'sweep-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const [source, mounts] = [join(directory, 'source'), join(directory, 'mounts')];
  mkdirSync(source);
  writeFileSync(join(source, 'file'), '');
  await sweepMounts(mounts);
  const target = join(mounts, 'tscontainerd-mount-x');
  mkdirSync(target);
  mountAll([{ type: 'bind', source, target: '', options: ['rbind', 'rw'] }], target);
  await sweepMounts(mounts);
  assert.deepEqual(readdirSync(mounts), []);
  assert.deepEqual(readdirSync(source), ['file']);
});
