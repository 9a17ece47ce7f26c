import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMountInfo } from '../linux/index.ts';
import {
  checkRestoredMounts,
  type ExternalMount,
  identityOf,
  presentExternals,
} from './external-mounts.ts';

const HOST = parseMountInfo(`20 1 8:1 / / rw - ext4 /dev/sda1 rw
21 20 8:2 /sub /srv rw - xfs /dev/sda2 rw
22 20 0:22 / /proc rw - proc proc rw
23 20 0:6 / /dev rw - devtmpfs dev rw
24 21 8:3 / /srv/a/deep rw - ext4 /dev/sdb rw
`);

const external = (index: number, mountPoint: string, source: string): ExternalMount => ({
  name: `mount-${index}`,
  property: `mounts[${index}]`,
  mountPoint,
  source,
  identity: identityOf(source, HOST),
  options: [],
  isOptional: false,
});
const A = external(1, '/a', '/srv/a');
const B = external(2, '/b', '/srv/b');

test('identityOf: the place in the file system that is mounted deepest', () => {
  assert.deepEqual(identityOf('/etc/passwd', HOST), { device: '8:1', root: '/etc/passwd' });
  assert.deepEqual(identityOf('/srv', HOST), { device: '8:2', root: '/sub' });
  assert.deepEqual(identityOf('/srv/a', HOST), { device: '8:2', root: '/sub/a' });
  assert.deepEqual(identityOf('/srvx', HOST), { device: '8:1', root: '/srvx' });
  assert.deepEqual(identityOf('/', HOST), { device: '8:1', root: '/' });
});

const mountinfo = (...lines: string[]) =>
  parseMountInfo(lines.map((line, index) => `${50 + index} 49 ${line}\n`).join(''));
const ROOT = '8:1 /rootfs / rw - ext4 /dev/sda1 rw';
const MOUNTED_A = '8:2 /sub/a /a rw - xfs /dev/sda2 rw';
const MOUNTED_B = '8:2 /sub/b /b rw - xfs /dev/sda2 rw';

test('presentExternals: those that the container has, also when the host has replaced the file', () => {
  assert.deepEqual(presentExternals([A, B], mountinfo(ROOT, MOUNTED_A)), [A]);
  const replaced = '8:2 /sub/a//deleted /a rw - xfs /dev/sda2 rw';
  assert.deepEqual(presentExternals([A], mountinfo(ROOT, replaced)), [A]);
});

const CONFUSED: [string, ExternalMount[], string[], string][] = [
  [
    'a directory that leads to another mount',
    [A, B],
    ['8:2 /sub/b /a rw - xfs /dev/sda2 rw', MOUNTED_B],
    'mounts[1]: /a shows xfs 8:2 /sub/b, not /srv/a',
  ],
  [
    'two mounts on one place',
    [A, { ...A, property: 'mounts[3]' }],
    [MOUNTED_A],
    'mounts[1] and mounts[3] are both on /a',
  ],
  [
    'a name that would end early',
    [external(1, '/a]:x', '/srv/a')],
    ['8:2 /sub/a /a]:x rw - xfs /dev/sda2 rw'],
    'mounts[1]: /a]:x contains "]:"',
  ],
];
for (const [what, externals, lines, message] of CONFUSED) {
  test(`presentExternals refuses ${what}`, () => {
    assert.throws(() => presentExternals(externals, mountinfo(ROOT, ...lines)), { message });
  });
}

const check = (...lines: string[]): void =>
  checkRestoredMounts(mountinfo(...lines), {
    externals: [A, { ...B, options: ['ro'] }],
    root: { device: '8:1', root: '/rootfs' },
    fileSystems: [{ type: 'proc', destination: '/proc' }],
    host: HOST,
  });

test('checkRestoredMounts: what config.json has, and what is the container’s own', () => {
  check(
    ROOT,
    MOUNTED_A,
    '8:2 /sub/b /b ro - xfs /dev/sda2 rw',
    '8:3 / /a/deep rw - ext4 /dev/sdb rw', // mounted below the source of a recursive bind
    '0:22 /sys /proc/sys ro - proc proc rw', // the host's procfs, where config.json has one
    '0:99 / /tmp rw - tmpfs tmpfs rw',
    '8:1 /rootfs/x /y rw - ext4 /dev/sda1 rw',
  );
});

const FOREIGN: [string, string[], string][] = [
  ['a root of the host', ['8:1 / / rw - ext4 /dev/sda1 rw'], 'the root shows ext4 8:1 /'],
  [
    'a directory of the host',
    [ROOT, '8:1 /etc /x rw - ext4 /dev/sda1 rw'],
    '/x shows ext4 8:1 /etc of the host',
  ],
  [
    'another mount in the place of one',
    [ROOT, '8:2 /sub/b /a rw - xfs /dev/sda2 rw'],
    '/a shows xfs 8:2 /sub/b, not /srv/a (mounts[1])',
  ],
  [
    'a file system of the host',
    [ROOT, '0:6 / /x rw - devtmpfs dev rw'],
    '/x shows devtmpfs 0:6 / of the host',
  ],
  [
    'the host’s /proc elsewhere',
    [ROOT, '0:22 / /x rw - proc proc rw'],
    '/x shows proc 0:22 / of the host',
  ],
  ['a mount that became writable', [ROOT, MOUNTED_B], '/b is not ro (mounts[2])'],
];
for (const [what, lines, message] of FOREIGN) {
  test(`checkRestoredMounts refuses ${what}`, () => {
    assert.throws(() => check(...lines), { message: `after the restore ${message}` });
  });
}
