import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMountOptions } from './temporary-mount.ts';

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
