import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compactLayers, type MountArguments, parseMountOptions } from './mount-options.ts';

const rows: [options: string[], expected: MountArguments][] = [
  [[], { flags: [], propagation: [], data: '' }],
  [
    ['rbind', 'ro', 'nosuid', 'rprivate'],
    {
      flags: ['MS_BIND', 'MS_REC', 'MS_RDONLY', 'MS_NOSUID'],
      propagation: ['MS_PRIVATE', 'MS_REC'],
      data: '',
    },
  ],
  [['ro', 'rw', 'defaults'], { flags: [], propagation: [], data: '' }],
  [
    ['index=off', 'workdir=/w', 'upperdir=/u', 'lowerdir=/a:/b'],
    { flags: [], propagation: [], data: 'index=off,workdir=/w,upperdir=/u,lowerdir=/a:/b' },
  ],
  [['size=1m', '__proto__'], { flags: [], propagation: [], data: 'size=1m,__proto__' }],
];

for (const [options, expected] of rows) {
  test(`parseMountOptions sorts [${options.join(' ')}]`, () => {
    assert.deepEqual(parseMountOptions(options), expected);
  });
}

test('compactLayers makes layers relative to their common directory', () => {
  const data = 'workdir=/s/9/work,upperdir=/s/9/fs,lowerdir=/s/snapshots/12/fs:/s/snapshots/1/fs';
  assert.deepEqual(compactLayers(data), {
    directory: '/s/snapshots',
    data: 'workdir=/s/9/work,upperdir=/s/9/fs,lowerdir=12/fs:1/fs',
  });
});

for (const data of ['', 'upperdir=/a', 'lowerdir=/a/b', 'lowerdir=/a/x:/b/y', 'lowerdir=a/b:a/c']) {
  test(`compactLayers leaves "${data}" alone`, () => {
    assert.equal(compactLayers(data), undefined);
  });
}
