import assert from 'node:assert/strict';
import { test } from 'node:test';
import { capabilityNames, planCapabilities } from './credential-steps.ts';

const available = new Set(['CAP_CHOWN', 'CAP_KILL', 'CAP_SETUID']);

test('planCapabilities: what is not available is left out', () => {
  const plan = planCapabilities({ bounding: ['CAP_CHOWN', 'CAP_SYS_ADMIN'] }, available);
  assert.deepEqual([...plan.bounding], ['CAP_CHOWN']);
});

test('planCapabilities: ambient ones must be permitted and inheritable', () => {
  const plan = planCapabilities(
    {
      permitted: ['CAP_CHOWN', 'CAP_KILL'],
      inheritable: ['CAP_CHOWN', 'CAP_SETUID'],
      ambient: ['CAP_CHOWN', 'CAP_KILL', 'CAP_SETUID'],
    },
    available,
  );
  assert.deepEqual([...plan.ambient], ['CAP_CHOWN']);
});

test('planCapabilities: absent sets are empty', () => {
  for (const set of Object.values(planCapabilities(undefined, available))) {
    assert.equal(set.size, 0);
  }
});

test('capabilityNames: bits by number', () => {
  assert.deepEqual([...capabilityNames(0b100001n)], ['CAP_CHOWN', 'CAP_KILL']);
});
