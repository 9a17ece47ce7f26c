// The same limits under runc and under tsrunc: every file of the container's cgroup, in every hierarchy, has the same content;
// so after every flag of `update`, each alone, and after documents that `update --resources` reads.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { detectCgroupHost } from '../../internal/cgroups/index.ts';
import { errnoNameOf } from '../../internal/errors/index.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';

const runc = peer('runc-1.3');
const skip = needsRoot !== false ? needsRoot : runc.skip;
const host = detectCgroupHost();
const isV2 = host.layout === 'unified';
const controllers = new Set(
  isV2
    ? readFileSync('/sys/fs/cgroup/cgroup.controllers', 'latin1').trim().split(' ')
    : host.hierarchies.flatMap((each) => [...each.controllers]),
);

const ours = (skip === false ? new RuntimeFixture() : undefined) as RuntimeFixture;
const theirs = (skip === false ? new RuntimeFixture([runc.path]) : undefined) as RuntimeFixture;
const parent = `/cgroup-twins-${process.pid}`;
after(() => {
  ours?.[Symbol.dispose]();
  theirs?.[Symbol.dispose]();
  for (const { mountPoint } of host.hierarchies) {
    if (existsSync(mountPoint + parent)) rmdirSync(mountPoint + parent);
  }
});

/** What is used, not what is set: only that the files are there is compared. */
const VOLATILE =
  /^(?:cgroup\.(?:procs|threads|stat|stat\.local|events)|tasks|pids\.(?:current|peak)|cpuacct\..*|cpu\.stat.*|blkio\..*(?:serviced|bytes|time|queued|merged|sectors|slice).*|memory\.(?:.*usage.*|stat|numa_stat|current|peak|swap\.(?:current|peak|events)|events.*|pressure.*|kmem\.slabinfo|zswap\.current)|.*\.pressure|io\.stat|hugetlb\..*(?:usage|current|numa_stat).*|misc\..*|cpuset\.memory_pressure|rdma\.current)$/;

/** All files of a container's cgroups by hierarchy and name. */
function dump(name: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (const {
    mountPoint,
    controllers: [controller = ''],
  } of host.hierarchies) {
    const directory = join(mountPoint, parent, name);
    if (!existsSync(directory)) {
      files[controller] = 'no cgroup';
      continue;
    }
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const key = `${controller} ${entry.name}`;
      if (entry.isDirectory()) files[key] = 'directory';
      else
        files[key] = VOLATILE.test(entry.name) ? 'volatile' : content(join(directory, entry.name));
    }
  }
  return files;
}

function content(path: string): string {
  try {
    const text = readFileSync(path, 'latin1');
    // In the order in which they were set, which has no meaning.
    return path.endsWith('/devices.list') ? text.split(/^/m).sort().join('') : text;
  } catch (thrown) {
    return String(errnoNameOf(thrown)); // one that can only be written to, or has no value
  }
}

interface Answer {
  readonly status: number | null;
  readonly error: string;
}

interface Pair {
  /** Ours, then runc's. */
  readonly attempt: (args: (id: string) => readonly string[], input?: string) => Answer[];
  readonly call: (args: (id: string) => readonly string[], input?: string) => void;
  readonly compare: (what: string) => Record<string, string>;
}

/** One container each, with the same limits. */
function withPair(change: (config: Config) => void, body: (pair: Pair) => void): void {
  const sides = [
    { runtime: ours, name: 'tsrunc', id: ours.newId('twin') },
    { runtime: theirs, name: 'runc', id: theirs.newId('twin') },
  ];
  const attempt: Pair['attempt'] = (args, input) =>
    sides.map(({ runtime, id }) => runtime.run(args(id), input === undefined ? {} : { input }));
  try {
    for (const { runtime, name, id } of sides) {
      runtime.startSleeping(id, (config) => {
        config.linux.cgroupsPath = `${parent}/${name}`;
        change(config);
      });
    }
    body({
      attempt,
      call: (args, input) => {
        const [one, other] = attempt(args, input);
        const errors = `${one?.error}; runc: ${other?.error}`;
        assert.deepEqual([one?.status, other?.status], [0, 0], errors);
      },
      compare: (what) => {
        const [one = {}, other = {}] = sides.map(({ name }) => dump(name));
        assert.deepEqual(one, other, what);
        return one;
      },
    });
  } finally {
    for (const { runtime, id } of sides) runtime.run(['delete', '--force', id]);
  }
}

const LIMITS: readonly [string, object][] = [
  ['none', {}],
  [
    'the usual ones',
    {
      memory: { limit: 100 << 20, reservation: 50 << 20, swap: 200 << 20 },
      cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: '0', mems: '0' },
      pids: { limit: 44 },
    },
  ],
  [
    'no limits by numbers',
    { memory: { limit: -1, swap: -1 }, pids: { limit: -1 }, cpu: { quota: -1 } },
  ],
  [
    'zeros',
    {
      memory: { limit: 0, reservation: 0 },
      pids: { limit: 0 },
      cpu: { shares: 0, quota: 0, period: 0 },
    },
  ],
  ['swap as large as memory', { memory: { limit: 64 << 20, swap: 64 << 20 } }],
  ['burst and idle', { cpu: { quota: 20_000, period: 50_000, burst: 10_000, idle: 1 } }],
  ['extreme shares', { cpu: { shares: 2 } }],
  ['large shares', { cpu: { shares: 262_144 } }],
  [
    'block I/O',
    {
      blockIO: {
        throttleReadBpsDevice: [{ major: 7, minor: 0, rate: 1 << 20 }],
        throttleWriteIOPSDevice: [{ major: 7, minor: 0, rate: 100 }],
      },
    },
  ],
  [
    'devices',
    {
      devices: [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' },
        { allow: true, type: 'b', major: 7, access: 'r' },
      ],
    },
  ],
  ...(controllers.has('hugetlb')
    ? [
        ['huge pages', { hugepageLimits: [{ pageSize: '2MB', limit: 4 << 20 }] }] as [
          string,
          object,
        ],
      ]
    : []),
  // cgroup v2 has neither: runc ignores them there, tsrunc refuses them by name.
  ...(isV2
    ? []
    : ([
        ['swappiness', { memory: { limit: 64 << 20, swappiness: 10 } }],
        ['the OOM killer off', { memory: { limit: 64 << 20, disableOOMKiller: true } }],
      ] as [string, object][])),
  ...(isV2
    ? [
        [
          'unified',
          { unified: { 'memory.high': '90000000', 'pids.max': '33', 'cpu.weight': '77' } },
        ] as [string, object],
      ]
    : []),
];

for (const [what, resources] of LIMITS) {
  test(`limits: ${what}`, { skip }, () => {
    withPair(
      (config) => {
        const { devices } = config.linux.resources;
        config.linux.resources = { devices, ...resources };
      },
      ({ compare }) => {
        assert.ok(Object.keys(compare(what)).length > 40);
      },
    );
  });
}

const FLAGS: readonly (readonly string[])[] = [
  ['--memory', '80m'],
  ['--memory-reservation', '40m'],
  ['--memory-swap', '160m'],
  ['--memory', '96m', '--memory-swap', '96m'],
  ['--memory', '-1', '--memory-swap', '-1'],
  ['--cpu-share', '300'],
  ['--cpu-period', '50000'],
  ['--cpu-quota', '20000'],
  ['--cpu-quota', '40000', '--cpu-period', '80000'],
  // runc forgets the period in an update of neither quota nor period, as the next one: not after that.
  ['--cpu-quota', '-1'],
  ['--cpu-burst', '5000'],
  ['--cpu-idle', '1'],
  ['--cpu-idle', '0'],
  ['--cpuset-cpus', '0'],
  ['--cpuset-mems', '0'],
  ['--pids-limit', '77'],
  ['--pids-limit', '-1'],
  ['--pids-limit', '0'],
];

const DOCUMENTS: readonly object[] = [
  { pids: { limit: 55 } },
  { memory: { limit: 70 << 20, reservation: 30 << 20, swap: 140 << 20 } },
  { cpu: { shares: 100, quota: 30_000, period: 60_000, cpus: '0', mems: '0' } },
  { blockIO: { weight: 0 } },
  {},
];

test('update: every flag', { skip }, (t) => {
  withPair(
    (config) => {
      Object.assign(config.linux.resources, {
        memory: { limit: 100 << 20, swap: 200 << 20 },
        pids: { limit: 44 },
      });
    },
    ({ call, compare }) => {
      let last = compare('before');
      for (const flags of FLAGS) {
        const what = flags.join(' ');
        call((id) => ['update', ...flags, id]);
        const now = compare(what);
        const changed = Object.keys(now).filter((name) => now[name] !== last[name]);
        t.diagnostic(
          `${what}: ${changed.map((name) => `${name} = ${now[name]?.trim()}`).join(', ')}`,
        );
        last = now;
      }
      for (const document of DOCUMENTS) {
        const text = JSON.stringify(document);
        call((id) => ['update', '--resources', '-', id], text);
        compare(`-r - ${text}`);
      }
    },
  );
});

/** What this machine's kernel may lack (realtime groups, weights of block I/O, cache allocation): taken or refused alike. */
const OTHERS: readonly (readonly string[])[] = [
  ['--blkio-weight', '300'],
  ...(isV2
    ? []
    : [
        ['--cpu-rt-period', '900000'],
        ['--cpu-rt-runtime', '1000'],
      ]),
  ['--kernel-memory', '50m'],
  ['--kernel-memory-tcp', '50m'],
  ['--l3-cache-schema', 'L3:0=f'],
  ['--mem-bw-schema', 'MB:0=20'],
  ['--memory', '1'],
  ['--cpuset-cpus', '4096'],
  ['--cpu-quota', '1'],
];

test('update: what cannot be set is refused alike', { skip }, (t) => {
  withPair(
    () => {},
    ({ attempt, compare }) => {
      for (const flags of OTHERS) {
        const [one, other] = attempt((id) => ['update', ...flags, id]);
        t.diagnostic(`${flags.join(' ')}: ${one?.error}; runc: ${other?.error}`);
        assert.deepEqual([flags, one?.status], [flags, other?.status]);
        compare(flags.join(' '));
      }
    },
  );
});
