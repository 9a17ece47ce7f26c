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
      pids: { current: 4n, limit: 9n },
      memoryOomControl: { oomKill: 9n },
      hugetlb: [{ pagesize: '2MB', usage: 2n, max: 3n }],
      blkio: {
        ioServicedRecursive: [
          { op: 'Read', major: 8n, minor: 1n, value: 3n },
          { op: 'Write', major: 8n, minor: 1n, value: 4n },
        ],
        ioServiceBytesRecursive: [
          { op: 'Read', major: 8n, minor: 0n, value: 11n },
          { op: 'Read', major: 8n, minor: 1n, value: 12n },
          { op: 'Write', major: 8n, minor: 1n, value: 13n },
          { op: 'Total', major: 8n, minor: 1n, value: 25n },
        ],
      },
    }),
  );
  assert.deepEqual(
    [figures?.cpu?.usageNs, figures?.cpu?.throttledNs, figures?.processes],
    [5n, 4n, 4n],
  );
  assert.equal(figures?.processesLimit, 9n);
  assert.deepEqual(figures.hugePages, [{ size: '2MB', usageBytes: 2n, maxUsageBytes: 3n }]);
  const none = { reads: 0n, writes: 0n, writtenBytes: 0n };
  assert.deepEqual(figures.devices, [
    { major: 8n, minor: 0n, ...none, readBytes: 11n },
    { major: 8n, minor: 1n, reads: 3n, writes: 4n, readBytes: 12n, writtenBytes: 13n },
  ]);
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
      io: { usage: [{ major: 8n, minor: 1n, rbytes: 12n, wbytes: 13n, rios: 3n, wios: 4n }] },
      hugetlb: [{ pagesize: '2MB', current: 2n, max: 2n ** 64n - 1n }],
    }),
  );
  assert.deepEqual([figures?.cpu?.usageNs, figures?.cpu?.throttledNs], [5000n, 2000n]);
  assert.equal(figures?.cpu?.pressure?.some?.total, 77n);
  assert.deepEqual(figures.hugePages, [{ size: '2MB', usageBytes: 2n, maxUsageBytes: undefined }]);
  assert.deepEqual(figures.devices, [
    { major: 8n, minor: 1n, reads: 3n, writes: 4n, readBytes: 12n, writtenBytes: 13n },
  ]);
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
