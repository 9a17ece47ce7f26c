import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packAny } from '../api/any.ts';
import { Metrics as V1Metrics } from '../api/generated/io.containerd.cgroups.v1.ts';
import { Metrics as V2Metrics } from '../api/generated/io.containerd.cgroups.v2.ts';
import { figuresOfMetrics } from './cgroup-figures.ts';

test('figuresOfMetrics: cgroup v1', () => {
  const figures = figuresOfMetrics(
    packAny(V1Metrics, {
      cpu: {
        usage: { total: 5n, user: 3n, kernel: 2n },
        throttling: { periods: 7n, throttledPeriods: 6n, throttledTime: 4n },
      },
      memory: {
        totalRss: 10n,
        totalInactiveFile: 30n,
        totalPgFault: 8n,
        totalPgMajFault: 1n,
        usage: { usage: 100n, max: 120n, limit: 9223372036854771712n, failcnt: 2n },
        swap: { usage: 140n, limit: 200n },
      },
      pids: { current: 4n },
      memoryOomControl: { oomKill: 9n },
    }),
  );
  assert.deepEqual(
    [figures?.cpu?.usageNs, figures?.cpu?.throttledNs, figures?.processes],
    [5n, 4n, 4n],
  );
  const { workingSetBytes, limitBytes, rssBytes, swapBytes, swapLimitBytes, oomKills, failures } =
    figures?.memory ?? {};
  assert.deepEqual(
    [workingSetBytes, limitBytes, rssBytes, swapBytes, swapLimitBytes, oomKills, failures],
    [70n, undefined, 10n, 40n, 200n, 9n, 2n],
  );
});

test('figuresOfMetrics: cgroup v2', () => {
  const psi = { some: { avg10: 1.5, avg60: 0, avg300: 0, total: 77n } };
  const figures = figuresOfMetrics(
    packAny(V2Metrics, {
      cpu: { usageUsec: 5n, userUsec: 3n, throttledUsec: 2n, psi },
      memory: { usage: 100n, inactiveFile: 130n, usageLimit: 2n ** 64n - 1n, anon: 10n },
    }),
  );
  assert.deepEqual([figures?.cpu?.usageNs, figures?.cpu?.throttledNs], [5000n, 2000n]);
  assert.equal(figures?.cpu?.pressure?.some?.total, 77n);
  // More files than all: the two were read one after the other.
  assert.deepEqual(
    [figures?.memory?.workingSetBytes, figures?.memory?.limitBytes],
    [0n, undefined],
  );
  assert.deepEqual([figures?.processes, figures?.ioPressure], [undefined, undefined]);
});

test('figuresOfMetrics: what is not known has none', () => {
  assert.equal(figuresOfMetrics({ typeUrl: 'x', value: new Uint8Array() }), undefined);
  assert.equal(figuresOfMetrics(undefined), undefined);
});
