import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeCgroupFiles } from './fake-cgroup-files.ts';
import { readV1EventDetails } from './v1-event-details.ts';

test('readV1EventDetails: time by CPU, and the files of cpuset', () => {
  const files = new FakeCgroupFiles('/cgroup');
  files.addDirectory('/acct', { 'cpuacct.usage_all': 'cpu user system\n0 5 7\n1 6 8' });
  files.addDirectory('/set', {
    'cpuset.cpus': '0-2,5',
    'cpuset.mems': '',
    'cpuset.sched_relax_domain_level': '-1',
    'cpuset.sched_load_balance': '1',
  });
  const details = readV1EventDetails({ cpuacct: '/acct', cpuset: '/set' }, files);
  assert.deepEqual(details.perCpuUser, [5n, 6n]);
  assert.deepEqual(details.perCpuKernel, [7n, 8n]);
  assert.deepEqual(details.cpuset['cpus'], [0n, 1n, 2n, 5n]);
  assert.equal(details.cpuset['mems'], undefined);
  assert.equal(details.cpuset['sched_relax_domain_level'], -1n);
  assert.equal(details.cpuset['sched_load_balance'], 1n);
  assert.equal(details.cpuset['mem_exclusive'], 0n);
});

test('readV1EventDetails: without the controllers there are no lists, and zeros', () => {
  const { cpuset, ...lists } = readV1EventDetails({}, new FakeCgroupFiles('/cgroup'));
  assert.deepEqual(lists, { perCpuKernel: [], perCpuUser: [] });
  assert.deepEqual(new Set(Object.values(cpuset)), new Set([0n]));
  assert.equal(Object.keys(cpuset).length, 9);
});
