// The soak in short: some seconds of containers and execs, and nothing is left of them. Memory needs longer: `make soak`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipWithout } from '../fixtures/shim.ts';
import { soak } from './soak.ts';

test('a soak of ten seconds leaves nothing', { skip: skipWithout('tsrunc') }, async (t) => {
  const seed = Date.now() % 2 ** 31;
  t.diagnostic(`seed ${seed}`);
  const { containers, execs } = await soak({ seconds: 10, workers: 4, seed });
  t.diagnostic(`${containers} containers, ${execs} execs`);
  assert.ok(containers > 0 && execs > 0);
});
