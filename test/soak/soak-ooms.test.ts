// The soak of containers without memory in short: a thousand of them are `make soak-ooms`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipCri } from '../fixtures/cri.ts';
import { soakOoms } from './soak-ooms.ts';

test('containers that run out of memory are OOMKilled, those that are killed are not', {
  skip: skipCri(),
}, async () => {
  assert.deepEqual(await soakOoms({ ooms: 26, atOnce: 3 }), []);
});
