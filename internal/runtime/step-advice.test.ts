import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stepAdvice } from './step-advice.ts';

const ROWS: readonly [label: string, errno: string, expected: RegExp | undefined][] = [
  ['set process.apparmorProfile mine', 'ENOENT', /^load the profile mine /],
  ['set process.apparmorProfile mine', 'EACCES', /"change_profile -> mine,"/],
  ['set process.apparmorProfile mine', 'EPERM', /no new privileges/],
  ['set process.apparmorProfile mine', 'EINVAL', undefined],
  ['join cgroup /sys/fs/cgroup/cpu/c/tasks', 'EINVAL', /realtimeRuntime$/],
  ['join cgroup /sys/fs/cgroup/cpu,cpuacct/c/tasks', 'EINVAL', /realtimeRuntime$/],
  ['join cgroup /sys/fs/cgroup/cpu/c/tasks', 'EBUSY', undefined],
  ['join cgroup /sys/fs/cgroup/cpuset/c/tasks', 'EINVAL', undefined],
  ['mount proc on /proc', 'EACCES', undefined],
];
for (const [label, errno, expected] of ROWS) {
  test(`stepAdvice: ${label}: ${errno}`, () => {
    const advice = stepAdvice(label, errno);
    if (expected === undefined) assert.equal(advice, undefined);
    else assert.match(advice ?? '', expected);
  });
}
