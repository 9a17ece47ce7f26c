import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CgroupHost, Hierarchy } from './cgroup-host.ts';
import { cgroupDirectories } from './cgroup-path.ts';

function hierarchy(name: string, mountPoint: string, ownCgroup: string, root = '/'): Hierarchy {
  return { controllers: name.split(','), mountPoint, root, ownCgroup };
}

const V1: CgroupHost = {
  layout: 'hybrid',
  hierarchies: [
    hierarchy('cpu,cpuacct', '/c/cpu,cpuacct', '/'),
    hierarchy('memory', '/c/memory', '/own/deep'),
    hierarchy('', '/c/unified', '/own'),
  ],
};
const V2: CgroupHost = { layout: 'unified', hierarchies: [hierarchy('', '/c', '/sys.slice/our')] };
/** In a container without a cgroup namespace of its own. */
const NESTED: CgroupHost = {
  layout: 'legacy',
  hierarchies: [hierarchy('memory', '/c/memory', '/docker/1/sub', '/docker/1')],
};
const ELSEWHERE: CgroupHost = {
  layout: 'legacy',
  hierarchies: [hierarchy('memory', '/c/memory', '/other', '/docker/1')],
};

const all = (cpu: string, memory: string, unified: string) => ({
  cpu,
  cpuacct: cpu,
  memory,
  '': unified,
});

const PLACES: [string, CgroupHost, string | undefined, Record<string, string>][] = [
  [
    'v1 absolute',
    V1,
    '/k8s.io/a',
    all('/c/cpu,cpuacct/k8s.io/a', '/c/memory/k8s.io/a', '/c/unified/k8s.io/a'),
  ],
  [
    'v1 relative',
    V1,
    'x/a',
    all('/c/cpu,cpuacct/x/a', '/c/memory/own/deep/x/a', '/c/unified/own/x/a'),
  ],
  [
    'v1 without a path',
    V1,
    undefined,
    all('/c/cpu,cpuacct/web', '/c/memory/own/deep/web', '/c/unified/own/web'),
  ],
  [
    'v1 empty path',
    V1,
    '',
    all('/c/cpu,cpuacct/web', '/c/memory/own/deep/web', '/c/unified/own/web'),
  ],
  ['dots stay inside', V2, '/a/../../../etc/./b/', { '': '/c/etc/b' }],
  ['relative dots stay inside', V2, '../../x', { '': '/c/sys.slice/x' }],
  ['v2 absolute', V2, '/kubepods/burstable/pod1/a', { '': '/c/kubepods/burstable/pod1/a' }],
  ['v2 relative is beside our own', V2, 'x', { '': '/c/sys.slice/x' }],
  ['v2 without a path', V2, undefined, { '': '/c/sys.slice/web' }],
  ['a mount that starts at a container', NESTED, 'x', { memory: '/c/memory/sub/x' }],
  ['our own cgroup is not mounted', ELSEWHERE, 'x', { memory: '/c/memory/x' }],
  ['two colons without a name', V2, '/a:b:/c', { '': '/c/a:b:/c' }],
];

for (const [what, host, cgroupsPath, expected] of PLACES) {
  test(`cgroupDirectories: ${what}`, () => {
    const options = { id: 'web', ...(cgroupsPath === undefined ? {} : { cgroupsPath }) };
    assert.deepEqual(cgroupDirectories(host, options), expected);
  });
}

test('cgroupDirectories: a path for the systemd driver', () => {
  assert.throws(() => cgroupDirectories(V2, { id: 'web', cgroupsPath: 'system.slice:cri:abc' }), {
    kind: 'FailedPrecondition',
    code: 'TS_CGROUP_DRIVER_MISMATCH',
    text:
      'linux.cgroupsPath "system.slice:cri:abc" is for the systemd cgroup driver, which is off: ' +
      "set SystemdCgroup = false and the kubelet's cgroupDriver to cgroupfs",
  });
});

test('cgroupDirectories: the root would take every process of the machine', () => {
  for (const cgroupsPath of ['/', '/..', '/a/..', '//']) {
    assert.throws(() => cgroupDirectories(V2, { id: 'web', cgroupsPath }), {
      kind: 'InvalidArgument',
      message: `linux.cgroupsPath ${JSON.stringify(cgroupsPath)} is the root of all cgroups`,
    });
  }
});
