import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Namespace } from '../oci/index.ts';
import { planNamespaces } from './namespace-plan.ts';

const path = '/proc/1/ns/x';
const JOINERS: [string, Namespace[], boolean][] = [
  ['only new ones', [{ type: 'pid' }, { type: 'user' }, { type: 'mount' }], false],
  ['a joined network', [{ type: 'mount' }, { type: 'network', path }], false],
  ['a joined pid namespace', [{ type: 'mount' }, { type: 'pid', path }], true],
  ['a joined user namespace', [{ type: 'mount' }, { type: 'user', path }], true],
  ['a new user and a joined network', [{ type: 'user' }, { type: 'network', path }], true],
];
for (const [what, namespaces, needsJoiner] of JOINERS) {
  test(`planNamespaces: ${what} ${needsJoiner ? 'needs' : 'needs no'} joiner`, () => {
    assert.equal(planNamespaces(namespaces).needsJoiner, needsJoiner);
  });
}

test('planNamespaces: cgroup and time are made late', () => {
  const plan = planNamespaces([{ type: 'mount' }, { type: 'cgroup' }, { type: 'time' }]);
  assert.deepEqual(plan, {
    cloned: ['mount'],
    joined: [],
    needsJoiner: false,
    unsharesCgroup: true,
    unsharesTime: true,
    hasNewUser: false,
    unsharesIpc: false,
  });
});

test('planNamespaces: with a new user namespace ipc is made after the ids are mapped', () => {
  const plan = planNamespaces([{ type: 'user' }, { type: 'ipc' }, { type: 'mount' }]);
  assert.deepEqual(plan.cloned, ['user', 'mount']);
  assert.equal(plan.unsharesIpc, true);
});
