import assert from 'node:assert/strict';
import { test } from 'node:test';
import { subCgroupPaths } from './sub-cgroups.ts';

const OWN = { cpu: '/sys/fs/cgroup/cpu/c', memory: '/sys/fs/cgroup/memory/c' };

test('subCgroupPaths: without options the cgroups of the container', () => {
  assert.deepEqual(subCgroupPaths(OWN, []), OWN);
});

test('subCgroupPaths: a path without controllers is for all of them', () => {
  assert.deepEqual(subCgroupPaths(OWN, ['a/b/']), {
    cpu: '/sys/fs/cgroup/cpu/c/a/b',
    memory: '/sys/fs/cgroup/memory/c/a/b',
  });
});

test('subCgroupPaths: a named controller alone changes', () => {
  assert.deepEqual(subCgroupPaths(OWN, ['memory:x']), {
    cpu: '/sys/fs/cgroup/cpu/c',
    memory: '/sys/fs/cgroup/memory/c/x',
  });
});

const REFUSED: [string, string][] = [
  ['..', '--cgroup "..": ".." is not below the cgroup of the container'],
  ['a/../../b', '--cgroup "a/../../b": "a/../../b" is not below the cgroup of the container'],
  ['nope:a', '--cgroup "nope:a": unknown controller nope'],
  ['constructor:a', '--cgroup "constructor:a": unknown controller constructor'],
];
for (const [option, message] of REFUSED) {
  test(`subCgroupPaths refuses ${option}`, () => {
    assert.throws(() => subCgroupPaths(OWN, [option]), { kind: 'InvalidArgument', message });
  });
}
