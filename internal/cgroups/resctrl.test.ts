import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IntelRdt } from '../oci/index.ts';
import { FakeResctrlFiles } from './fake-resctrl-files.ts';
import { ResctrlGroup, type ResctrlHost } from './resctrl.ts';
import { isInForce, schemaLines } from './resctrl-schemata.ts';
import { readResctrlStatistics } from './resctrl-statistics.ts';

const ROOT = '/sys/fs/resctrl';

function machine(): { files: FakeResctrlFiles; host: ResctrlHost } {
  const files = new FakeResctrlFiles(ROOT);
  return { files, host: { root: ROOT, files } };
}

const LINES: readonly [string, IntelRdt, readonly string[]][] = [
  ['nothing', {}, []],
  [
    'one line of either',
    { l3CacheSchema: 'L3:0=f', memBwSchema: 'MB:0=20' },
    ['L3:0=f', 'MB:0=20'],
  ],
  [
    'two lines for code and data',
    { l3CacheSchema: 'L3CODE:0=f\nL3DATA:0=f0\n' },
    ['L3CODE:0=f', 'L3DATA:0=f0'],
  ],
  [
    'memBwSchema instead of a line in l3CacheSchema',
    { l3CacheSchema: 'MB:0=10\nL3:0=f', memBwSchema: 'MB:0=20' },
    ['MB:0=20', 'L3:0=f'],
  ],
  [
    'schemata instead of the others',
    { l3CacheSchema: 'L3:0=f', memBwSchema: 'MB:0=20', schemata: ['L3:0=ff;1=ff', 'L2:0=3'] },
    ['L3:0=ff;1=ff', 'MB:0=20', 'L2:0=3'],
  ],
];

for (const [name, rdt, expected] of LINES) {
  test(`schemaLines: ${name}`, () => {
    assert.deepEqual(
      schemaLines(rdt).map(({ text }) => text),
      expected,
    );
  });
}

const COMPARED: readonly [string, boolean][] = [
  ['L3:0=000ff', true],
  ['L3:1=f0;0=FF', true],
  ['L3:01=f0', true],
  ['L3:0=f', false],
  ['L3:2=ff', false],
  ['L2:0=ff', false],
  ['MB:0=50', true],
  ['MB:0=41', true],
  ['MB:0=40', false],
];

for (const [text, expected] of COMPARED) {
  test(`isInForce: ${text} ${expected ? 'is' : 'is not'} what the group has`, () => {
    const [line] = schemaLines({ schemata: [text] });
    assert.ok(line !== undefined);
    assert.equal(isInForce('    MB:0=50;1=100\n    L3:0=ff;1=f0\n', line, 10), expected);
  });
}

test('a group of its own: made with its limits, joined, counted, removed', () => {
  const { files, host } = machine();
  const rdt = { l3CacheSchema: 'L3:0=00f', enableMonitoring: true };
  const group = ResctrlGroup.of(host, 'web', rdt);
  assert.deepEqual(group.paths, {
    group: '/sys/fs/resctrl/web',
    isOwn: true,
    monitoring: '/sys/fs/resctrl/web/mon_groups/web',
  });
  group.check(rdt);
  assert.deepEqual(files.journal, []);
  group.make(rdt);
  group.join(42);
  assert.deepEqual(group.tasks(), [42]);
  assert.deepEqual(readResctrlStatistics(host, group.paths), {
    l3: {
      cbmMask: 'fffff',
      minCbmBits: 1n,
      numClosids: 16n,
      rootSchema: 'L3:0=fffff;1=fffff',
      schema: 'L3:0=f;1=fffff',
    },
    mb: {
      granularity: 10n,
      delayLinear: 1n,
      minBandwidth: 10n,
      numClosids: 8n,
      rootSchema: 'MB:0=100;1=100',
      schema: 'MB:0=100;1=100',
    },
    schemata: ['L3:0=f;1=fffff', 'MB:0=100;1=100'],
    caches: [
      { llcOccupancyBytes: 1000n, mbmTotalBytes: 1000n, mbmLocalBytes: 7n },
      { mbmLocalBytes: 7n },
    ],
    counters: ['llc_occupancy', 'mbm_total_bytes', 'mbm_local_bytes'],
  });
  group.remove();
  assert.deepEqual(files.journal, [
    '+web',
    'web/schemata=L3:0=00f\n',
    '+web/mon_groups/web',
    'web/tasks=42',
    'web/mon_groups/web/tasks=42',
    '-web/mon_groups/web',
    '-web',
  ]);
  assert.deepEqual(files.subdirectories(ROOT).sort(), ['info', 'mon_data', 'mon_groups']);
});

test('a group by its name: joined as it is, and left where it is', () => {
  const { files, host } = machine();
  files.addGroup(`${ROOT}/gold`);
  for (const rdt of [{ closID: 'gold' }, { closID: 'gold', l3CacheSchema: 'L3:1=0fffff' }]) {
    const group = ResctrlGroup.of(host, 'web', { ...rdt, enableMonitoring: true });
    group.check(rdt);
    group.make(rdt);
    group.join(7);
    group.remove();
  }
  const each = [
    '+gold/mon_groups/web',
    'gold/tasks=7',
    'gold/mon_groups/web/tasks=7',
    '-gold/mon_groups/web',
  ];
  assert.deepEqual(files.journal, [...each, ...each]);
});

test('a group by its name that is not there: made with its limits, and left for others', () => {
  const { files, host } = machine();
  const rdt = { closID: 'gold', schemata: ['MB:0=50', 'L3:0=ff'] };
  const group = ResctrlGroup.of(host, 'web', rdt);
  group.check(rdt);
  const undo = group.make(rdt);
  group.remove();
  assert.deepEqual(files.journal, ['+gold', 'gold/schemata=MB:0=50\nL3:0=ff\n']);
  undo();
  assert.deepEqual(files.journal.at(-1), '-gold');
});

test('the default group: only counted in', () => {
  const { files, host } = machine();
  const rdt = { closID: '/', enableMonitoring: true };
  const group = ResctrlGroup.of(host, 'web', rdt);
  group.check(rdt);
  const undo = group.make(rdt);
  group.join(7);
  undo();
  assert.deepEqual(files.journal, [
    '+mon_groups/web',
    'tasks=7',
    'mon_groups/web/tasks=7',
    '-mon_groups/web',
  ]);
});

const REFUSED: readonly [string, IntelRdt, string][] = [
  [
    'a name that no group has',
    { closID: 'none' },
    'config.json: linux.intelRdt.closID: there is no group /sys/fs/resctrl/none: make it with mkdir and set its limits, or give them in linux.intelRdt.schemata',
  ],
  [
    "a directory of the kernel's",
    { closID: 'info' },
    'config.json: linux.intelRdt.closID: /sys/fs/resctrl/info is no group',
  ],
  [
    'a group with other limits',
    { closID: 'gold', memBwSchema: 'MB:1=20' },
    'config.json: linux.intelRdt.memBwSchema: "MB:1=20" is not what the group /sys/fs/resctrl/gold has: "MB:0=100;1=100": change the group, or leave the limits out',
  ],
  [
    'a resource that the machine lacks',
    { schemata: ['L2:0=f'] },
    'linux.intelRdt.schemata: "L2:0=f" is given, but there is no /sys/fs/resctrl/info/L2: use what is listed in /sys/fs/resctrl/info: L3, MB, L3_MON',
  ],
  [
    'a way out of info',
    { schemata: ['../web:0=f'] },
    'linux.intelRdt.schemata: "../web:0=f" is given, but there is no /sys/fs/resctrl/info/../web: use what is listed in /sys/fs/resctrl/info: L3, MB, L3_MON',
  ],
  [
    'a line without a resource',
    { l3CacheSchema: '0=f' },
    'linux.intelRdt.l3CacheSchema: "0=f" names no resource, as "L3:0=ff" does: use what is listed in /sys/fs/resctrl/info: L3, MB, L3_MON',
  ],
  [
    "another's group of the container's name",
    {},
    'make resctrl group /sys/fs/resctrl/gold: it is there already: name it in linux.intelRdt.closID to share it, or remove it with rmdir',
  ],
];

for (const [name, rdt, text] of REFUSED) {
  test(`refused: ${name}`, () => {
    const { files, host } = machine();
    files.addGroup(`${ROOT}/gold`);
    assert.throws(() => ResctrlGroup.of(host, 'gold', rdt).check(rdt), { text });
    assert.deepEqual(files.journal, []);
  });
}

test('refused: counting where the machine has no counters', () => {
  const { files, host } = machine();
  files.directories.delete(`${ROOT}/mon_groups`);
  const rdt = { enableMonitoring: true };
  assert.throws(() => ResctrlGroup.of(host, 'web', rdt).check(rdt), {
    message:
      'config.json: linux.intelRdt.enableMonitoring: this machine cannot count: there is no /sys/fs/resctrl/mon_groups',
  });
});

const FAILURES: readonly [string, string, 'EINVAL' | 'ENOSPC' | 'EACCES', string][] = [
  [
    'no group is left',
    '+web',
    'ENOSPC',
    'make resctrl group /sys/fs/resctrl/web: ENOSPC: remove a group of /sys/fs/resctrl, or share one by linux.intelRdt.closID: the CPU knows no more of them',
  ],
  [
    'limits that the kernel refuses',
    'web/schemata=L3:0=f\n',
    'EINVAL',
    'write "L3:0=f\\n" to /sys/fs/resctrl/web/schemata: EINVAL: the kernel says: Mask out of range',
  ],
  [
    'a group for counting that cannot be made',
    '+web/mon_groups/web',
    'EACCES',
    'make resctrl group /sys/fs/resctrl/web/mon_groups/web: EACCES: the kernel says: Mask out of range',
  ],
];

for (const [name, entry, errno, text] of FAILURES) {
  test(`nothing is left after: ${name}`, () => {
    const { files, host } = machine();
    files.refuse(entry, errno);
    files.contents.set(`${ROOT}/info/last_cmd_status`, 'Mask out of range\n');
    const rdt = { l3CacheSchema: 'L3:0=f', enableMonitoring: true };
    const group = ResctrlGroup.of(host, 'web', rdt);
    assert.throws(() => group.make(rdt), { text });
    assert.equal(group.exists(), false);
  });
}
