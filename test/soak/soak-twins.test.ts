// The soak of random twins in short, always of the same bundles: others are `make soak-twins`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipTwins } from '../fixtures/twins.ts';
import { soakTwins } from './soak-twins.ts';

test('random bundles are the same container under runc and tsrunc, or none under both', {
  skip: skipTwins,
}, () => {
  assert.deepEqual(soakTwins({ pairs: 25, seed: 1 }), []);
});
