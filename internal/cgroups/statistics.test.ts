import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeCgroupFiles } from './fake-cgroup-files.ts';
import { hugepageSizeName } from './statistics-text.ts';
import { readV1Statistics } from './v1-statistics.ts';
import { readV2Statistics } from './v2-statistics.ts';

test('readV1Statistics: units, recursive counts, devices by name', () => {
  const files = new FakeCgroupFiles('/c');
  files.addDirectory('/c/a', {
    'cpuacct.usage': '123456789',
    'cpuacct.stat': 'user 7\nsystem 3',
    'cpuacct.usage_percpu': '100 23 ',
    'cpu.stat': 'nr_periods 5\nnr_throttled 2\nthrottled_time 900',
    'memory.stat': 'cache 10\nrss 20\npgpgin 3\nhierarchical_memory_limit 4096\ntotal_rss 21',
    'memory.usage_in_bytes': '30',
    'memory.max_usage_in_bytes': '40',
    'memory.limit_in_bytes': '9223372036854771712',
    'memory.failcnt': '1',
    'memory.memsw.usage_in_bytes': '31',
    'memory.oom_control': 'oom_kill_disable 0\nunder_oom 1\noom_kill 18446744073709551615',
    'pids.current': '2',
    'pids.max': 'max',
    'blkio.bfq.io_service_bytes_recursive': 'Total 0',
    'blkio.throttle.io_service_bytes_recursive':
      '8:0 Read 4096\n8:0 Write 1\n8:0 Total 4097\nTotal 4097',
    'blkio.throttle.io_serviced_recursive': '8:0 Read 1',
    'blkio.sectors_recursive': '8:0 77',
    'rdma.current': 'mlx4_0 hca_handle=2 hca_object=2000',
    'rdma.max': 'mlx4_0 hca_handle=max hca_object=5000',
    'hugetlb.2MB.usage_in_bytes': '2097152',
    'hugetlb.2MB.max_usage_in_bytes': '4194304',
    'hugetlb.2MB.failcnt': '3',
  });
  files.addDirectory('/sys/kernel/mm/hugepages/hugepages-2048kB');
  files.contents.set('/sys/dev/block/8:0/uevent', 'MAJOR=8\nMINOR=0\nDEVNAME=sda\nDEVTYPE=disk');
  const controllers = ['cpu', 'cpuacct', 'memory', 'pids', 'blkio', 'rdma', 'hugetlb'];
  const directories = Object.fromEntries(controllers.map((name) => [name, '/c/a']));
  const statistics = readV1Statistics(files, directories);
  assert.deepEqual(statistics.cpu, {
    usage: { total: 123456789n, kernel: 30000000n, user: 70000000n, perCpu: [100n, 23n] },
    throttling: { periods: 5n, throttledPeriods: 2n, throttledTime: 900n },
  });
  assert.deepEqual(statistics.memory?.usage, {
    usage: 30n,
    max: 40n,
    limit: 9223372036854771712n,
    failcnt: 1n,
  });
  assert.equal(statistics.memory?.swap?.usage, 31n);
  assert.equal(statistics.memory?.kernel, undefined);
  assert.equal(statistics.memory?.pgPgIn, 3n);
  assert.equal(statistics.memory?.totalRss, 21n);
  assert.equal(statistics.memory?.raw['hierarchical_memory_limit'], 4096n);
  assert.deepEqual(statistics.memoryOomControl, {
    oomKillDisable: 0n,
    underOom: 1n,
    oomKill: 18446744073709551615n,
  });
  assert.deepEqual(statistics.pids, { current: 2n, limit: 0n });
  const disk = { device: '/dev/sda', major: 8n, minor: 0n };
  assert.deepEqual(statistics.blkio?.ioServiceBytesRecursive, [
    { ...disk, op: 'Read', value: 4096n },
    { ...disk, op: 'Write', value: 1n },
    { ...disk, op: 'Total', value: 4097n },
  ]);
  assert.deepEqual(statistics.blkio?.sectorsRecursive, [{ ...disk, op: '', value: 77n }]);
  assert.deepEqual(statistics.rdma, {
    current: [{ device: 'mlx4_0', hcaHandles: 2, hcaObjects: 2000 }],
    limit: [{ device: 'mlx4_0', hcaHandles: 4294967295, hcaObjects: 5000 }],
  });
  assert.deepEqual(statistics.hugetlb, [
    { pagesize: '2MB', usage: 2097152n, max: 4194304n, failcnt: 3n },
  ]);
});

test('readV1Statistics: controllers that are not there are left out', () => {
  const files = new FakeCgroupFiles('/c');
  files.addDirectory('/c/a', { 'pids.current': '1', 'pids.max': '9' });
  assert.deepEqual(readV1Statistics(files, { pids: '/c/a', memory: '/c/none' }), {
    hugetlb: [],
    pids: { current: 1n, limit: 9n },
  });
});

test('readV2Statistics: limits, pressure, devices', () => {
  const files = new FakeCgroupFiles('/c');
  files.addDirectory('/c/a', {
    'cpu.stat':
      'usage_usec 100\nuser_usec 60\nsystem_usec 40\nnr_periods 3\nnr_bursts 1\nburst_usec 5',
    'cpu.pressure':
      'some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7',
    'memory.stat': 'anon 4096\nworkingset_refault_anon 1\nworkingset_refault_file 2\nnew_counter 8',
    'memory.current': '8192',
    'memory.max': 'max',
    'memory.peak': '9000',
    'memory.swap.current': '0',
    'memory.swap.max': '0',
    'memory.events': 'low 0\nhigh 0\nmax 4\noom 2\noom_kill 1\noom_group_kill 0',
    'pids.current': '3',
    'pids.max': 'max',
    'io.stat': '8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n7:0 \n',
    'hugetlb.1GB.current': '0',
    'hugetlb.1GB.max': 'max',
    'hugetlb.1GB.events': 'max 6',
  });
  files.addDirectory('/sys/kernel/mm/hugepages/hugepages-1048576kB');
  const max = 18446744073709551615n;
  const statistics = readV2Statistics(files, '/c/a');
  assert.deepEqual(statistics.cpu, {
    usageUsec: 100n,
    userUsec: 60n,
    systemUsec: 40n,
    nrPeriods: 3n,
    nrThrottled: 0n,
    throttledUsec: 0n,
    nrBursts: 1n,
    burstUsec: 5n,
    psi: {
      some: { avg10: 1.5, avg60: 0.25, avg300: 0, total: 12345n },
      full: { avg10: 0, avg60: 0, avg300: 0, total: 7n },
    },
  });
  const { memory } = statistics;
  assert.equal(memory?.usage, 8192n);
  assert.equal(memory?.usageLimit, max);
  assert.equal(memory?.maxUsage, 9000n);
  assert.equal(memory?.swapLimit, 0n);
  assert.equal(memory?.workingsetRefault, 3n);
  assert.equal(memory?.raw['new_counter'], 8n);
  assert.equal(memory?.psi, undefined);
  assert.equal(statistics.memoryEvents?.oomKill, 1n);
  assert.deepEqual(statistics.pids, { current: 3n, limit: max });
  assert.deepEqual(statistics.io?.usage[0], {
    major: 8n,
    minor: 0n,
    rbytes: 10n,
    wbytes: 20n,
    rios: 1n,
    wios: 2n,
  });
  assert.deepEqual(statistics.hugetlb, [{ pagesize: '1GB', current: 0n, max, failcnt: 6n }]);
});

for (const [directory, name] of [
  ['hugepages-64kB', '64KB'],
  ['hugepages-2048kB', '2MB'],
  ['hugepages-1048576kB', '1GB'],
  ['other', undefined],
] as const) {
  test(`hugepageSizeName: ${directory} is ${name}`, () =>
    assert.equal(hugepageSizeName(directory), name));
}
