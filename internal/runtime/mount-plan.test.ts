import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Mount } from '../oci/index.ts';
import { planMounts, resolveInRootfs } from './mount-plan.ts';

const bundle = mkdtempSync(join(tmpdir(), 'mount-plan-'));
const rootfs = join(bundle, 'rootfs');
after(() => rmSync(bundle, { recursive: true }));
mkdirSync(join(rootfs, 'etc'), { recursive: true });
mkdirSync(join(rootfs, 'mnt'));
mkdirSync(join(bundle, 'data'));
writeFileSync(join(bundle, 'data/file'), '');
symlinkSync('../run/resolv.conf', join(rootfs, 'etc/resolv.conf'));
symlinkSync('/mnt', join(rootfs, 'absolute'));
symlinkSync('../../../../../etc', join(rootfs, 'mnt/up'));
symlinkSync('loop', join(rootfs, 'loop'));

const plan = (mounts: Mount[], hasNewCgroupNamespace = false) =>
  planMounts({ mounts, bundle, rootfs, hasNewCgroupNamespace });

const PLACES: [string, string][] = [
  ['/etc/resolv.conf', '/run/resolv.conf'],
  ['/absolute/x', '/mnt/x'],
  ['/mnt/up/passwd', '/etc/passwd'],
  ['/not/there', '/not/there'],
  ['/', '/'],
];
for (const [path, place] of PLACES) {
  test(`resolveInRootfs of ${path} is ${place}`, () => {
    assert.equal(resolveInRootfs(rootfs, path), place);
  });
}

test('resolveInRootfs: a symlink to itself is ELOOP', () => {
  assert.throws(() => resolveInRootfs(rootfs, '/loop'), /ELOOP$/);
});

test('planMounts: kinds, sources and what is there', () => {
  const { early } = plan([
    { destination: '/proc', type: 'proc' },
    { destination: '/mnt', type: 'bind', source: 'data', options: ['rbind'] },
    { destination: '/f', source: join(bundle, 'data/file'), options: ['bind'] },
    { destination: '/sys/fs/cgroup', type: 'cgroup' },
    { destination: '/mnt/../etc', options: ['remount', 'ro'] },
  ]);
  assert.deepEqual(
    early.map(({ kind, destination, source, isDirectory, isThere }) => ({
      kind,
      destination,
      source: source.replace(bundle, ''),
      isDirectory,
      isThere,
    })),
    [
      { kind: 'file system', destination: '/proc', source: '', isDirectory: true, isThere: false },
      { kind: 'bind', destination: '/mnt', source: '/data', isDirectory: true, isThere: true },
      { kind: 'bind', destination: '/f', source: '/data/file', isDirectory: false, isThere: false },
      {
        kind: 'cgroup',
        destination: '/sys/fs/cgroup',
        source: '',
        isDirectory: true,
        isThere: false,
      },
      { kind: 'remount', destination: '/etc', source: '', isDirectory: true, isThere: true },
    ],
  );
});

test('planMounts: what waits for the cgroup, and what is mounted over or below it', () => {
  const mounts: Mount[] = [
    { destination: '/sys', type: 'sysfs' },
    { destination: '/sys/fs/cgroup', type: 'cgroup' },
    { destination: '/dev', type: 'tmpfs' },
    { destination: '/sys/fs/cgroup/x', type: 'tmpfs' },
  ];
  const places = (list: readonly { destination: string }[]) => list.map((each) => each.destination);
  const { early, late } = plan(mounts, true);
  assert.deepEqual(places(early), ['/sys', '/dev']);
  assert.deepEqual(places(late), ['/sys/fs/cgroup', '/sys/fs/cgroup/x']);
  assert.deepEqual(plan(mounts, false).late, []);
});

const REFUSED: [Mount, string][] = [
  [{ destination: '/', type: 'tmpfs' }, 'config.json: mounts[0].destination: is the root itself'],
  [
    { destination: '/proc/self', type: 'tmpfs' },
    'config.json: mounts[0].destination: /proc/self cannot be mounted because it is inside /proc',
  ],
  [
    { destination: '/mnt/../proc/1', source: 'data', options: ['bind'] },
    'config.json: mounts[0].destination: /proc/1 cannot be mounted because it is inside /proc',
  ],
  [
    { destination: '/proc', type: 'sysfs' },
    'config.json: mounts[0].type: "sysfs" on /proc is not a procfs',
  ],
  [
    { destination: '/mnt', source: '/nonexistent', options: ['bind'] },
    'mounts[0].source: stat /nonexistent: ENOENT',
  ],
];
for (const [mount, message] of REFUSED) {
  test(`planMounts refuses ${mount.type ?? mount.source} on ${mount.destination}`, () => {
    assert.throws(() => plan([mount]), { message });
  });
}

test('planMounts: files of /proc that others may replace', () => {
  const file = join(bundle, 'data/file');
  const { early } = plan([{ destination: '/proc/meminfo', source: file, options: ['bind'] }]);
  assert.equal(early[0]?.destination, '/proc/meminfo');
});

test('planMounts: tmpcopyup copies what the mounts before it show', () => {
  const copied = (destination: string): Mount => ({
    destination,
    type: 'tmpfs',
    options: ['tmpcopyup'],
  });
  const copies = (...mounts: Mount[]) =>
    plan(mounts).early.map(({ copyUp }) => copyUp.map(({ path }) => path));
  const data = { destination: '/mnt', source: 'data', options: ['bind'] };
  assert.deepEqual(copies(copied('/etc')), [['resolv.conf']]);
  assert.deepEqual(copies(data, copied('/mnt')), [[], ['file']]);
  assert.deepEqual(copies(copied('/etc'), copied('/etc')), [['resolv.conf'], ['resolv.conf']]);
  assert.deepEqual(copies({ destination: '/etc', type: 'tmpfs' }, copied('/etc')), [[], []]);
  const remount = { destination: '/mnt', options: ['remount', 'ro'] };
  assert.deepEqual(copies(data, remount, copied('/mnt')), [[], [], ['file']]);
  assert.deepEqual(copies(copied('/not/there')), [[]]);
});
