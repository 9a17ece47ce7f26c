import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Machine, whatIsMissing } from './preflight.ts';

const good: Machine = {
  uid: 0,
  platform: 'linux',
  status: 'Name:\tnode\nCapEff:\t000001ffffffffff\n',
  mountinfo: '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n',
  namespaces: ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts'],
};

test('a usual machine has all that is needed', () => {
  assert.equal(whatIsMissing(good), undefined);
});

const rows: [name: string, change: Partial<Machine>, sentence: RegExp][] = [
  [
    'another system',
    { platform: 'darwin' },
    /^This runs Linux containers, and this machine runs darwin\.$/,
  ],
  [
    'not root',
    { uid: 1000 },
    /^Namespaces, mounts and cgroups need root here: run it as "sudo make demo"\.$/,
  ],
  [
    'root in a container',
    { status: 'CapEff:\t00000000a80425fb\n' },
    /^Root lacks the capability CAP_SYS_ADMIN, .*\.$/,
  ],
  [
    'a small kernel',
    { namespaces: ['mnt', 'pid'] },
    /without the namespaces net, ipc, uts: use another kernel\.$/,
  ],
  [
    'no cgroups',
    { mountinfo: '1 0 0:1 / / rw - ext4 /dev/sda rw\n' },
    /^No cgroup hierarchy is mounted: .*\.$/,
  ],
  [
    'read-only cgroups',
    { mountinfo: '30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw\n' },
    /^The cgroup hierarchies are mounted read-only: .*\.$/,
  ],
];
for (const [name, change, sentence] of rows) {
  test(`one sentence says what is missing: ${name}`, () => {
    const said = whatIsMissing({ ...good, ...change }) ?? '';
    assert.match(said, sentence);
    assert.equal(said.split('\n').length, 1);
  });
}
