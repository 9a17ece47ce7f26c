import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerUnit, expandSlice, unitCgroup } from './unit-name.ts';

/** cgroupsPath, for a user, the scope, the path of its cgroup. */
const UNITS: [string | undefined, boolean, string, string][] = [
  ['system.slice:docker:abc', false, 'docker-abc.scope', '/system.slice/docker-abc.scope'],
  ['system.slice::abc', false, 'abc.scope', '/system.slice/abc.scope'],
  [':libpod:abc', false, 'libpod-abc.scope', '/system.slice/libpod-abc.scope'],
  [':libpod:abc', true, 'libpod-abc.scope', '/user.slice/libpod-abc.scope'],
  ['-.slice:a:b', false, 'a-b.scope', '/a-b.scope'],
  [undefined, false, 'tsrunc-id.scope', '/system.slice/tsrunc-id.scope'],
  ['', true, 'tsrunc-id.scope', '/user.slice/tsrunc-id.scope'],
  [
    'kubepods-burstable-pod1_2.slice:cri-containerd:f00',
    false,
    'cri-containerd-f00.scope',
    '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-f00.scope',
  ],
];

for (const [cgroupsPath, isUser, name, cgroup] of UNITS) {
  test(`containerUnit: ${JSON.stringify(cgroupsPath)}${isUser ? ' of a user' : ''}`, () => {
    const given = cgroupsPath === undefined ? {} : { cgroupsPath };
    const unit = containerUnit({ id: 'id', ...given }, isUser);
    assert.equal(unit.name, name);
    assert.equal(unitCgroup(unit), cgroup);
  });
}

for (const path of ['/k8s.io/abc', 'abc', 'a:b', 'a.slice:b:', 'a.slice:b:c:d']) {
  test(`containerUnit: ${path} is for the other driver`, () => {
    assert.throws(() => containerUnit({ id: 'id', cgroupsPath: path }, false), {
      code: 'TS_CGROUP_DRIVER_MISMATCH',
      message: `linux.cgroupsPath ${JSON.stringify(path)} is a path for the cgroupfs driver, but the systemd driver is on`,
      advice:
        'give slice:prefix:name as "system.slice:cri-containerd:ID", that is: set the kubelet\'s cgroupDriver to systemd, or SystemdCgroup = false',
    });
  });
}

/** What could be a path, several units or an option. */
const BAD: [string, string][] = [
  ['a.slice:b:c/../../x', '"b-c/../../x.scope" is not the name of a systemd unit'],
  ['a.slice:b:c\nd', '"b-c\\nd.scope" is not the name of a systemd unit'],
  ['a.slice:b:c d', '"b-c d.scope" is not the name of a systemd unit'],
  [
    `a.slice:b:${'c'.repeat(300)}`,
    `"b-${'c'.repeat(300)}.scope" is not the name of a systemd unit`,
  ],
  ['a.slice:b:pod.slice', '"pod.slice" is a slice, in which no process can be'],
];

for (const [path, problem] of BAD) {
  test(`containerUnit: refuses ${JSON.stringify(path).slice(0, 40)}`, () => {
    assert.throws(() => containerUnit({ id: 'id', cgroupsPath: path }, false), {
      kind: 'InvalidArgument',
      message: `linux.cgroupsPath ${JSON.stringify(path)}: ${problem}`,
    });
  });
}

for (const slice of [
  'a',
  '.slice',
  'a--b.slice',
  '-a.slice',
  'a-.slice',
  '../x.slice',
  'a/b.slice',
  'a b.slice',
]) {
  test(`expandSlice: refuses ${slice}`, () => {
    assert.throws(() => expandSlice(slice), {
      message: `linux.cgroupsPath ${JSON.stringify(slice)}: ${JSON.stringify(slice)} is not the name of a slice`,
    });
  });
}
