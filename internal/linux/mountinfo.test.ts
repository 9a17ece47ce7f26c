import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMountInfo, readMountInfo } from './mountinfo.ts';

test('parseMountInfo: every field, with any number of optional ones', () => {
  const [root, data] = parseMountInfo(
    '23 1 259:3 / / rw,relatime - ext4 /dev/root rw\n' +
      '41 23 0:31 /a\\040b /mnt/new\\012line\\134 ro,nosuid shared:5 master:2 - fuse.x src\\040y rw,size=1k\n',
  );
  assert.deepEqual(root, {
    id: 23,
    parentId: 1,
    major: 259,
    minor: 3,
    root: '/',
    mountPoint: '/',
    options: ['rw', 'relatime'],
    optionalFields: [],
    type: 'ext4',
    source: '/dev/root',
    superOptions: ['rw'],
  });
  assert.deepEqual(data, {
    id: 41,
    parentId: 23,
    major: 0,
    minor: 31,
    root: '/a b',
    mountPoint: '/mnt/new\nline\\',
    options: ['ro', 'nosuid'],
    optionalFields: ['shared:5', 'master:2'],
    type: 'fuse.x',
    source: 'src y',
    superOptions: ['rw', 'size=1k'],
  });
});

for (const line of [
  '',
  'x',
  '1 2 3:4 / /',
  '1 2 3:4 / / rw shared:1 ext4 / rw',
  '1 2 34 / / rw - t s o',
]) {
  test(`parseMountInfo: ${JSON.stringify(line)} is ${line === '' ? 'no mount' : 'refused'}`, () => {
    if (line === '') assert.deepEqual(parseMountInfo(line), []);
    else
      assert.throws(() => parseMountInfo(line), {
        message: /^parse mountinfo: unknown form of line/,
      });
  });
}

test('readMountInfo: has /proc of this process, and names a process that is not there', () => {
  assert.ok(
    readMountInfo().some(({ mountPoint, type }) => mountPoint === '/proc' && type === 'proc'),
  );
  assert.throws(() => readMountInfo(0), {
    message: 'read /proc/0/mountinfo: ENOENT',
    kind: 'NotFound',
  });
});
