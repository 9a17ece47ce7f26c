// The soak of pods in short: a few, some seconds of probes, and nothing is left. A full node and its memory: `make soak-pods`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { skipCri } from '../fixtures/cri.ts';
import { soakPods } from './soak-pods.ts';

test('pods with probes: each probe succeeds, and nothing is left', {
  skip: skipCri(),
}, async (t) => {
  const seconds = 10;
  const { probes, failures } = await soakPods({ pods: 8, probed: 4, seconds, probeTimeoutS: 30 });
  t.diagnostic(`${probes} probes`);
  assert.deepEqual(failures, []);
  assert.ok(probes >= 4);
});
