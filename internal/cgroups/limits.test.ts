import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrnoName, TsError } from '../errors/index.ts';
import { runBlocking } from '../linux/index.ts';
import type { CgroupResources } from './cgroup-manager.ts';
import { FakeCgroupFiles } from './fake-cgroup-files.ts';
import { setV1Limits as v1Limits } from './v1-limits.ts';
import { cpuWeight, ioWeight } from './v2-conversions.ts';
import { setV2Limits as v2Limits } from './v2-limits.ts';

const V1_FILES: Record<string, Record<string, string>> = {
  cpu: {
    'cpu.shares': '1024',
    'cpu.cfs_quota_us': '-1',
    'cpu.cfs_period_us': '100000',
    'cpu.cfs_burst_us': '0',
    'cpu.idle': '0',
    'cpu.rt_period_us': '1000000',
    'cpu.rt_runtime_us': '0',
  },
  cpuset: { 'cpuset.cpus': '0-1', 'cpuset.mems': '0' },
  memory: {
    'memory.limit_in_bytes': '9223372036854771712',
    'memory.memsw.limit_in_bytes': '9223372036854771712',
    'memory.soft_limit_in_bytes': '0',
    'memory.usage_in_bytes': '5000',
    'memory.swappiness': '60',
    'memory.oom_control': '',
    'memory.use_hierarchy': '1',
    'memory.kmem.limit_in_bytes': '0',
    'memory.kmem.tcp.limit_in_bytes': '0',
  },
  pids: { 'pids.max': 'max' },
  devices: { 'devices.allow': '', 'devices.deny': '' },
  blkio: {
    'blkio.bfq.weight': '100',
    'blkio.bfq.weight_device': '',
    'blkio.throttle.read_bps_device': '',
    'blkio.throttle.write_bps_device': '',
    'blkio.throttle.read_iops_device': '',
    'blkio.throttle.write_iops_device': '',
  },
  hugetlb: { 'hugetlb.2MB.limit_in_bytes': '0', 'hugetlb.2MB.rsvd.limit_in_bytes': '0' },
  net_cls: { 'net_cls.classid': '0' },
  net_prio: { 'net_prio.ifpriomap': '' },
  rdma: { 'rdma.max': '' },
};

const V2_FILES: Record<string, string> = {
  'cgroup.controllers': 'cpu cpuset memory io pids hugetlb rdma',
  'cpu.weight': '100',
  'cpu.max': 'max 100000',
  'cpu.max.burst': '0',
  'cpu.idle': '0',
  'cpuset.cpus': '',
  'cpuset.mems': '',
  'memory.max': 'max',
  'memory.low': '0',
  'memory.high': 'max',
  'memory.current': '5000',
  'memory.swap.max': 'max',
  'pids.max': 'max',
  'io.weight': 'default 100',
  'io.max': '',
  'hugetlb.2MB.max': 'max',
  'hugetlb.2MB.rsvd.max': 'max',
  'rdma.max': '',
};

function v1(): { files: FakeCgroupFiles; directories: Record<string, string> } {
  const files = new FakeCgroupFiles('/c');
  const directories: Record<string, string> = {};
  for (const [controller, contents] of Object.entries(V1_FILES)) {
    directories[controller] = `/c/${controller}`;
    files.addDirectory(`/c/${controller}`, contents);
  }
  return { files, directories };
}

function v2(): FakeCgroupFiles {
  const files = new FakeCgroupFiles('/c');
  files.addDirectory('/c', V2_FILES);
  return files;
}

const MIB = 1048576n;

/** Resources, the writes of v1, the writes of v2; a text is the error instead. */
const LIMITS: [string, CgroupResources, string[] | string, string[] | string][] = [
  ['nothing', {}, [], []],
  ['empty parts', { memory: {}, cpu: {}, pids: {}, blockIO: {}, network: {} }, [], []],
  [
    'memory',
    { memory: { limit: 64n * MIB } },
    ['memory/memory.limit_in_bytes=67108864'],
    ['memory.max=67108864'],
  ],
  [
    'memory and swap',
    { memory: { limit: 64n * MIB, swap: 96n * MIB, reservation: 32n * MIB } },
    [
      'memory/memory.limit_in_bytes=67108864',
      'memory/memory.memsw.limit_in_bytes=100663296',
      'memory/memory.soft_limit_in_bytes=33554432',
    ],
    ['memory.swap.max=33554432', 'memory.max=67108864', 'memory.low=33554432'],
  ],
  [
    'unlimited memory takes swap along',
    { memory: { limit: -1n } },
    ['memory/memory.memsw.limit_in_bytes=-1', 'memory/memory.limit_in_bytes=-1'],
    ['memory.swap.max=max', 'memory.max=max'],
  ],
  [
    'unlimited swap',
    { memory: { limit: MIB, swap: -1n } },
    ['memory/memory.memsw.limit_in_bytes=-1', 'memory/memory.limit_in_bytes=1048576'],
    ['memory.swap.max=max', 'memory.max=1048576'],
  ],
  [
    'swap without memory',
    { memory: { swap: MIB } },
    ['memory/memory.memsw.limit_in_bytes=1048576'],
    'linux.resources.memory.swap: cannot be set without memory.limit',
  ],
  [
    'swap below memory',
    { memory: { limit: 2n * MIB, swap: MIB } },
    'linux.resources.memory.swap: 1048576 is memory and swap together and below limit, 2097152',
    'linux.resources.memory.swap: 1048576 is memory and swap together and below limit, 2097152',
  ],
  [
    'checkBeforeUpdate',
    { memory: { limit: 4999n, checkBeforeUpdate: true } },
    'linux.resources.memory.limit: 4999 is below the usage, 5000',
    'linux.resources.memory.limit: 4999 is below the usage, 5000',
  ],
  [
    'swappiness',
    { memory: { swappiness: 0n } },
    ['memory/memory.swappiness=0'],
    'linux.resources.memory.swappiness: cgroup v2 has no such limit: leave the property out',
  ],
  [
    'disableOOMKiller',
    { memory: { disableOOMKiller: true } },
    ['memory/memory.oom_control=1'],
    'linux.resources.memory.disableOOMKiller: cgroup v2 has no such limit: leave the property out',
  ],
  ['enabled OOM killer', { memory: { disableOOMKiller: false } }, [], []],
  ['hierarchy as it is', { memory: { useHierarchy: true } }, [], []],
  [
    'kernel memory',
    { memory: { kernel: 5n, kernelTCP: 6n } },
    ['memory/memory.kmem.limit_in_bytes=5', 'memory/memory.kmem.tcp.limit_in_bytes=6'],
    'linux.resources.memory.kernel: cgroup v2 has no such limit: leave the property out',
  ],
  [
    'cpu',
    { cpu: { shares: 1024n, quota: 50000n, period: 100000n } },
    ['cpu/cpu.shares=1024', 'cpu/cpu.cfs_period_us=100000', 'cpu/cpu.cfs_quota_us=50000'],
    ['cpu.weight=100', 'cpu.max=50000 100000'],
  ],
  [
    'cpu quota alone',
    { cpu: { quota: 50000n } },
    ['cpu/cpu.cfs_quota_us=50000'],
    ['cpu.max=50000'],
  ],
  ['cpu quota unlimited', { cpu: { quota: -1n } }, ['cpu/cpu.cfs_quota_us=-1'], ['cpu.max=max']],
  [
    'cpu period alone',
    { cpu: { period: 50000n } },
    ['cpu/cpu.cfs_period_us=50000'],
    ['cpu.max=max 50000'],
  ],
  ['cpu zeros', { cpu: { shares: 0n, quota: 0n, period: 0n } }, [], []],
  [
    'cpu shares too small',
    { cpu: { shares: 1n } },
    'linux.resources.cpu.shares: 1 is not between 2 and 262144',
    ['cpu.weight=1'],
  ],
  [
    'cpu burst',
    { cpu: { quota: 50000n, burst: 1000n } },
    ['cpu/cpu.cfs_burst_us=1000', 'cpu/cpu.cfs_quota_us=50000'],
    ['cpu.max=50000', 'cpu.max.burst=1000'],
  ],
  [
    'cpu idle',
    { cpu: { idle: 1, shares: 5n } },
    ['cpu/cpu.shares=5', 'cpu/cpu.idle=1'],
    ['cpu.idle=1'],
  ],
  [
    'realtime',
    { cpu: { realtimePeriod: 1000000n, realtimeRuntime: 5000n } },
    ['cpu/cpu.rt_period_us=1000000', 'cpu/cpu.rt_runtime_us=5000'],
    'linux.resources.cpu.realtimePeriod: cgroup v2 has no such limit: leave the property out',
  ],
  [
    'cpuset',
    { cpu: { cpus: '0-1', mems: '0' } },
    ['cpuset/cpuset.cpus=0-1', 'cpuset/cpuset.mems=0'],
    ['cpuset.cpus=0-1', 'cpuset.mems=0'],
  ],
  ['pids', { pids: { limit: 10n } }, ['pids/pids.max=10'], ['pids.max=10']],
  ['pids unlimited', { pids: { limit: -1n } }, ['pids/pids.max=max'], ['pids.max=max']],
  [
    'block I/O',
    {
      blockIO: {
        weight: 500,
        throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1000n }],
        throttleWriteBpsDevice: [{ major: 8, minor: 0, rate: 0n }],
        throttleReadIOPSDevice: [{ major: 8, minor: 0, rate: 10n }],
        throttleWriteIOPSDevice: [{ major: 8, minor: 1, rate: 11n }],
      },
    },
    [
      'blkio/blkio.bfq.weight=500',
      'blkio/blkio.throttle.read_bps_device=8:0 1000',
      'blkio/blkio.throttle.write_bps_device=8:0 0',
      'blkio/blkio.throttle.read_iops_device=8:0 10',
      'blkio/blkio.throttle.write_iops_device=8:1 11',
    ],
    [
      'io.weight=4950',
      'io.max=8:0 rbps=1000',
      'io.max=8:0 wbps=max',
      'io.max=8:0 riops=10',
      'io.max=8:1 wiops=11',
    ],
  ],
  [
    'leaf weight',
    { blockIO: { leafWeight: 10 } },
    'linux.resources.blockIO.leafWeight: write "10" to /c/blkio/blkio.leaf_weight: ENOENT: ' +
      'leave the limit out, or use a kernel that has it',
    'linux.resources.blockIO.leafWeight: cgroup v2 has no such limit: leave the property out',
  ],
  [
    'huge pages, reserved ones too',
    { hugepageLimits: [{ pageSize: '2MB', limit: 4194304n }] },
    [
      'hugetlb/hugetlb.2MB.limit_in_bytes=4194304',
      'hugetlb/hugetlb.2MB.rsvd.limit_in_bytes=4194304',
    ],
    ['hugetlb.2MB.max=4194304', 'hugetlb.2MB.rsvd.max=4194304'],
  ],
  [
    'network',
    { network: { classID: 1048577, priorities: [{ name: 'lo', priority: 2 }] } },
    ['net_cls/net_cls.classid=1048577', 'net_prio/net_prio.ifpriomap=lo 2'],
    'linux.resources.network.classID: cgroup v2 has no such limit: leave the property out',
  ],
  [
    'rdma',
    {
      rdma: { mlx5_1: { hcaHandles: 3, hcaObjects: 10000 }, mlx4_0: { hcaObjects: 1 }, mlx4_1: {} },
    },
    ['rdma/rdma.max=mlx5_1 hca_handle=3 hca_object=10000', 'rdma/rdma.max=mlx4_0 hca_object=1'],
    ['rdma.max=mlx5_1 hca_handle=3 hca_object=10000', 'rdma.max=mlx4_0 hca_object=1'],
  ],
  [
    'unified',
    { unified: { 'memory.high': '1000', 'pids.max': '7' } },
    'linux.resources.unified["memory.high"]: cgroup v1 has no such limit: use a machine with cgroup v2',
    ['memory.high=1000', 'pids.max=7'],
  ],
];

function setV1Limits(...parameters: Parameters<typeof v1Limits>): void {
  runBlocking(v1Limits(...parameters));
}

function setV2Limits(...parameters: Parameters<typeof v2Limits>): void {
  runBlocking(v2Limits(...parameters));
}

function outcome(files: FakeCgroupFiles, set: () => void): string[] | string {
  try {
    set();
    return files.journal;
  } catch (thrown) {
    assert.ok(thrown instanceof TsError, String(thrown));
    return thrown.text;
  }
}

for (const [what, resources, onV1, onV2] of LIMITS) {
  test(`setV1Limits: ${what}`, () => {
    const { files, directories } = v1();
    assert.deepEqual(
      outcome(files, () => setV1Limits(files, directories, resources)),
      onV1,
    );
  });
  test(`setV2Limits: ${what}`, () => {
    const files = v2();
    assert.deepEqual(
      outcome(files, () => setV2Limits(files, '/c', resources)),
      onV2,
    );
  });
}

test('setV1Limits: a greater limit of memory and swap goes first, so that memory fits under it', () => {
  const { files, directories } = v1();
  setV1Limits(files, directories, { memory: { limit: MIB, swap: MIB } });
  files.journal.length = 0;
  setV1Limits(files, directories, { memory: { limit: 4n * MIB, swap: 8n * MIB } });
  assert.deepEqual(files.journal, [
    'memory/memory.memsw.limit_in_bytes=8388608',
    'memory/memory.limit_in_bytes=4194304',
  ]);
});

test('setV1Limits: a period that does not fit the old quota is set after the new one', () => {
  const { files, directories } = v1();
  let isQuotaSet = false;
  files.refuse((entry) => {
    if (entry.includes('quota')) isQuotaSet = true;
    return entry.includes('period') && !isQuotaSet;
  }, 'EINVAL');
  setV1Limits(files, directories, { cpu: { quota: 5000n, period: 10000n } });
  assert.deepEqual(files.journal, ['cpu/cpu.cfs_quota_us=5000', 'cpu/cpu.cfs_period_us=10000']);
});

test('setV1Limits: devices are denied first, then allowed one by one', () => {
  const { files, directories } = v1();
  const devices = [
    { allow: false, access: 'rwm' },
    { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' },
    { allow: true, type: 'b', access: 'm' },
  ] as const;
  setV1Limits(files, directories, { devices });
  assert.deepEqual(files.journal, [
    'devices/devices.deny=a',
    'devices/devices.allow=c 1:3 rwm',
    'devices/devices.allow=b *:* m',
  ]);
});

test('setV1Limits: a controller that is not mounted', () => {
  const { files, directories } = v1();
  const { pids: _, ...others } = directories;
  assert.throws(() => setV1Limits(files, others, { pids: { limit: 1n } }), {
    kind: 'FailedPrecondition',
    code: 'TS_CGROUP_NO_CONTROLLER',
    text:
      'linux.resources.pids.limit: no hierarchy of the cgroup controller pids is mounted: ' +
      'mount it (mount -t cgroup -o pids cgroup DIRECTORY) or leave the limit out',
  });
});

const REFUSED_MEMORY: readonly [string, string, ErrnoName, CgroupResources, string][] = [
  [
    'a limit below what is in use',
    'memory/memory.limit_in_bytes=4096',
    'EBUSY',
    { memory: { limit: 4096n } },
    'linux.resources.memory.limit: write "4096" to /c/memory/memory.limit_in_bytes: EBUSY: 5000 bytes are in use (7000 at most so far): set a limit above that, or have the container use less first',
  ],
  [
    'a limit of memory and swap below what is in use',
    'memory/memory.memsw.limit_in_bytes=8192',
    'EBUSY',
    { memory: { swap: 8192n } },
    'linux.resources.memory.swap: write "8192" to /c/memory/memory.memsw.limit_in_bytes: EBUSY: 6000 bytes are in use (8000 at most so far): set a limit above that, or have the container use less first',
  ],
  [
    'a limit of memory above that of memory and swap',
    'memory/memory.limit_in_bytes=4096',
    'EINVAL',
    { memory: { limit: 4096n } },
    'linux.resources.memory.limit: write "4096" to /c/memory/memory.limit_in_bytes: EINVAL: memory and swap together are limited to 2048: raise memory.swap in the same update',
  ],
  [
    'a limit of memory and swap below that of memory',
    'memory/memory.memsw.limit_in_bytes=1024',
    'EINVAL',
    { memory: { swap: 1024n } },
    'linux.resources.memory.swap: write "1024" to /c/memory/memory.memsw.limit_in_bytes: EINVAL: memory alone is limited to 2000: lower memory.limit in the same update',
  ],
  [
    'another error',
    'memory/memory.limit_in_bytes=4096',
    'EACCES',
    { memory: { limit: 4096n } },
    'linux.resources.memory.limit: write "4096" to /c/memory/memory.limit_in_bytes: EACCES',
  ],
];
for (const [what, write, errno, resources, text] of REFUSED_MEMORY) {
  test(`setV1Limits: ${what}: the error says what to do`, () => {
    const files = new FakeCgroupFiles('/c');
    files.addDirectory('/c/memory', {
      'memory.limit_in_bytes': '2000\n',
      'memory.usage_in_bytes': '5000\n',
      'memory.max_usage_in_bytes': '7000\n',
      'memory.memsw.limit_in_bytes': '2048\n',
      'memory.memsw.usage_in_bytes': '6000\n',
      'memory.memsw.max_usage_in_bytes': '8000\n',
    });
    files.refuse(write, errno);
    assert.throws(() => setV1Limits(files, { memory: '/c/memory' }, resources), { text });
  });
}

test('setV2Limits: a controller that is not enabled, and a value that the kernel refuses', () => {
  const files = new FakeCgroupFiles('/c');
  files.addDirectory('/c/a', { 'cgroup.controllers': 'memory', 'memory.max': 'max' });
  assert.throws(() => setV2Limits(files, '/c/a', { pids: { limit: 1n } }), {
    kind: 'FailedPrecondition',
    code: 'TS_CGROUP_NO_CONTROLLER',
    text:
      'linux.resources.pids.limit: write "1" to /c/a/pids.max: ENOENT: ' +
      'enable the controller: echo +pids > /c/cgroup.subtree_control',
  });
  files.refuse('a/memory.max=1', 'EBUSY');
  assert.throws(() => setV2Limits(files, '/c/a', { memory: { limit: 1n } }), {
    message: 'linux.resources.memory.limit: write "1" to /c/a/memory.max: EBUSY',
  });
});

test('setV2Limits: without swap accounting, no limit and no swap are as good as set', () => {
  const files = v2();
  files.contents.delete('/c/memory.swap.max');
  setV2Limits(files, '/c', { memory: { limit: MIB, swap: MIB } });
  setV2Limits(files, '/c', { memory: { limit: MIB, swap: -1n } });
  assert.deepEqual(files.journal, ['memory.max=1048576', 'memory.max=1048576']);
  assert.throws(() => setV2Limits(files, '/c', { memory: { limit: MIB, swap: 2n * MIB } }), {
    message: 'linux.resources.memory.swap: write "1048576" to /c/memory.swap.max: ENOENT',
  });
});

test('setV2Limits: of an update, what is not named stays', () => {
  const files = v2();
  setV2Limits(files, '/c', { cpu: { quota: 5000n, period: 50000n }, memory: { limit: MIB } });
  files.journal.length = 0;
  files.contents.set('/c/cpu.max', '5000 50000');
  setV2Limits(files, '/c', { cpu: { period: 20000n } });
  setV2Limits(files, '/c', { cpu: { quota: 7000n } });
  setV2Limits(files, '/c', { memory: { swap: 3n * MIB } });
  assert.deepEqual(files.journal, [
    'cpu.max=5000 20000',
    'cpu.max=7000',
    'memory.swap.max=2097152',
  ]);
});

test('setV2Limits: a smaller burst is set before a smaller quota', () => {
  const files = v2();
  files.contents.set('/c/cpu.max.burst', '90000');
  setV2Limits(files, '/c', { cpu: { quota: 50000n, burst: 40000n } });
  assert.deepEqual(files.journal, ['cpu.max.burst=40000', 'cpu.max=50000']);
});

for (const [shares, weight] of [
  [1n, 1],
  [2n, 1],
  [102n, 17],
  [1023n, 100],
  [1024n, 100],
  [1025n, 101],
  [2048n, 174],
  [262144n, 10000],
  [300000n, 10000],
] as const) {
  test(`cpuWeight: ${shares} shares are weight ${weight}`, () =>
    assert.equal(cpuWeight(shares), weight));
}

for (const [weight, expected] of [
  [10, 1],
  [100, 910],
  [500, 4950],
  [1000, 10000],
] as const) {
  test(`ioWeight: ${weight} is ${expected}`, () => assert.equal(ioWeight(weight), expected));
}

test('setV2Limits: a new limit of memory leaves the sum of memory and swap as it was', () => {
  const files = new FakeCgroupFiles('/c', () => V2_FILES);
  setV2Limits(files, '/c', { memory: { limit: 100n, swap: 150n } });
  files.journal.length = 0;
  setV2Limits(files, '/c', { memory: { limit: 80n } });
  setV2Limits(files, '/c', { memory: { limit: 200n } }); // beyond the sum: swap stays
  assert.deepEqual(files.journal, ['memory.swap.max=70', 'memory.max=80', 'memory.max=200']);
});

test('limits whose writer has to free or to move memory are written by a child, if asked for', () => {
  const resources: CgroupResources = {
    cpu: { cpus: '0', mems: '0', quota: 5000n },
    memory: { limit: MIB, swap: MIB },
    pids: { limit: 7n },
  };
  const { files, directories } = v1();
  setV1Limits(files, directories, resources, { byChild: true });
  assert.deepEqual(files.childWrites.toSorted(), [
    'cpuset/cpuset.mems',
    'memory/memory.limit_in_bytes',
    'memory/memory.memsw.limit_in_bytes',
  ]);
  const unified = v2();
  setV2Limits(unified, '/c', { ...resources, unified: { 'memory.high': '1' } }, { byChild: true });
  assert.deepEqual(unified.childWrites, ['memory.max', 'cpuset.mems', 'memory.high']);
  assert.deepEqual(files.journal.length, 6);
});
