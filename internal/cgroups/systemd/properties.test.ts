import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TsError } from '../../errors/index.ts';
import type { CgroupResources } from '../cgroup-manager.ts';
import { containerDeviceRules } from '../device-rules.ts';
import { deviceProperties } from './device-properties.ts';
import { annotatedProperties } from './property-annotations.ts';
import { resourceProperties } from './resource-properties.ts';
import { INFINITY, type UnitProperty } from './unit-property.ts';

const NEW = { version: 257, isUnified: true };
const OLD = { version: 241, isUnified: true };
const MIB = 1048576n;

/** Name and value; bytes as hexadecimal digits. */
function shown(properties: readonly UnitProperty[]): Record<string, unknown> {
  return Object.fromEntries(
    properties.map(({ name, value }) => [
      name,
      Buffer.isBuffer(value) ? value.toString('hex') : value,
    ]),
  );
}

function outcome(properties: () => readonly UnitProperty[]): unknown {
  try {
    return shown(properties());
  } catch (thrown) {
    assert.ok(thrown instanceof TsError, String(thrown));
    return thrown.message;
  }
}

/** Resources, the properties on v1, those on v2; a text is the error. */
const RESOURCES: [string, CgroupResources, unknown, unknown][] = [
  ['nothing', {}, {}, {}],
  [
    'memory and swap',
    { memory: { limit: 64n * MIB, swap: 96n * MIB, reservation: 32n * MIB } },
    { MemoryLimit: 64n * MIB },
    { MemoryMax: 64n * MIB, MemoryLow: 32n * MIB, MemorySwapMax: 32n * MIB },
  ],
  [
    'unlimited memory',
    { memory: { limit: -1n } },
    { MemoryLimit: INFINITY },
    { MemoryMax: INFINITY, MemorySwapMax: INFINITY },
  ],
  [
    'swap below memory',
    { memory: { limit: 2n, swap: 1n } },
    { MemoryLimit: 2n },
    'linux.resources.memory.swap: 1 is memory and swap together and below limit, 2',
  ],
  ['shares', { cpu: { shares: 1024n } }, { CPUShares: 1024n }, { CPUWeight: 100n }],
  ['idle', { cpu: { shares: 1024n, idle: 1 } }, { CPUShares: 1024n }, { CPUWeight: 0n }],
  [
    'quota, rounded up to 10 ms a second',
    { cpu: { quota: 33333n, period: 100000n } },
    { CPUQuotaPeriodUSec: 100000n, CPUQuotaPerSecUSec: 340000n },
    { CPUQuotaPeriodUSec: 100000n, CPUQuotaPerSecUSec: 340000n },
  ],
  [
    'no quota',
    { cpu: { quota: -1n } },
    { CPUQuotaPerSecUSec: INFINITY },
    { CPUQuotaPerSecUSec: INFINITY },
  ],
  [
    'cpuset',
    { cpu: { cpus: '0-2,9', mems: '0' } },
    { AllowedCPUs: '0702', AllowedMemoryNodes: '01' },
    { AllowedCPUs: '0702', AllowedMemoryNodes: '01' },
  ],
  [
    'a cpuset that is none',
    { cpu: { cpus: '0-99999' } },
    'linux.resources.cpu.cpus: "0-99999" is not a list of numbers and ranges',
    'linux.resources.cpu.cpus: "0-99999" is not a list of numbers and ranges',
  ],
  ['pids', { pids: { limit: 7n } }, { TasksMax: 7n }, { TasksMax: 7n }],
  ['pids unlimited', { pids: { limit: -1n } }, { TasksMax: INFINITY }, { TasksMax: INFINITY }],
  ['block I/O', { blockIO: { weight: 500 } }, { BlockIOWeight: 500n }, { IOWeight: 4950n }],
  [
    'unified, which wins',
    {
      memory: { limit: 5n },
      unified: {
        'memory.max': 'max',
        'memory.high': '10',
        'pids.max': '3',
        'cpu.max': '5000 10000',
        'cpuset.cpus': '1',
        'memory.oom.group': '1',
      },
    },
    { MemoryLimit: 5n },
    {
      MemoryMax: INFINITY,
      MemoryHigh: 10n,
      TasksMax: 3n,
      CPUQuotaPeriodUSec: 10000n,
      CPUQuotaPerSecUSec: 500000n,
      AllowedCPUs: '02',
    },
  ],
  [
    'unified with a value that is none',
    { unified: { 'pids.max': '3; rm' } },
    {},
    'linux.resources.unified["pids.max"]: "3; rm" is neither a number nor max',
  ],
];

for (const [what, resources, onV1, onV2] of RESOURCES) {
  test(`resourceProperties: ${what}`, () => {
    assert.deepEqual(
      outcome(() => resourceProperties(resources, { ...NEW, isUnified: false })),
      onV1,
    );
    assert.deepEqual(
      outcome(() => resourceProperties(resources, NEW)),
      onV2,
    );
  });
}

test('resourceProperties: an older systemd is not told what it does not know', () => {
  const resources = { cpu: { cpus: '0', quota: 50000n, period: 50000n, idle: 1, shares: 2n } };
  assert.deepEqual(shown(resourceProperties(resources, OLD)), {
    CPUWeight: 1n,
    CPUQuotaPerSecUSec: 1000000n,
  });
});

test('resourceProperties: swap of an update counts from the limit that is set', () => {
  assert.deepEqual(shown(resourceProperties({ memory: { swap: 30n } }, NEW, 10n)), {
    MemorySwapMax: 20n,
  });
});

test('deviceProperties: what a container may use, and what its configuration adds', () => {
  const rules = containerDeviceRules([
    { allow: false, access: 'rwm' },
    { allow: true, type: 'b', major: 8, access: 'r' },
    { allow: true, type: 'b', major: 9, access: 'r' },
    { allow: true, type: 'c', major: 1, minor: 11, access: 'rw' },
  ]);
  assert.deepEqual(shown(deviceProperties(rules)), {
    DevicePolicy: 'strict',
    DeviceAllow: [
      ['block-8', 'r'],
      ['block-9', 'r'],
      ['/dev/char/1:11', 'rw'],
      ['char-*', 'm'],
      ['block-*', 'm'],
      ['/dev/char/1:3', 'rwm'],
      ['/dev/char/1:8', 'rwm'],
      ['/dev/char/1:7', 'rwm'],
      ['/dev/char/5:0', 'rwm'],
      ['/dev/char/1:5', 'rwm'],
      ['/dev/char/1:9', 'rwm'],
      ['char-136', 'rwm'],
      ['/dev/char/5:2', 'rwm'],
      ['/dev/char/10:200', 'rwm'],
    ],
  });
});

test('deviceProperties: all allowed', () => {
  assert.deepEqual(shown(deviceProperties([{ allow: true }])), {
    DevicePolicy: 'auto',
    DeviceAllow: [],
  });
});

const PREFIX = 'org.systemd.property.';

test('annotatedProperties: the allowed ones, others are not systemd’s', () => {
  const annotations = {
    'io.kubernetes.cri': 'x',
    [`${PREFIX}CollectMode`]: "'inactive'",
    [`${PREFIX}TimeoutStopUSec`]: 'uint64 5000000',
    [`${PREFIX}RuntimeMaxSec`]: '3',
    [`${PREFIX}ManagedOOMMemoryPressureLimit`]: 'uint32 100',
  };
  assert.deepEqual(annotatedProperties(annotations), [
    { name: 'CollectMode', type: 's', value: 'inactive' },
    { name: 'TimeoutStopUSec', type: 't', value: 5000000n },
    { name: 'RuntimeMaxUSec', type: 't', value: 3000000n },
    { name: 'ManagedOOMMemoryPressureLimit', type: 'u', value: 100 },
  ]);
});

/** CVE-2023-6476, CVE-2024-3154: what would run programs, lift limits, or be two values. */
const HOSTILE: [string, string, string][] = [
  ['ExecStartPre', "'/bin/evil'", 'containers may not set this property'],
  ['DevicePolicy', "'auto'", 'containers may not set this property'],
  ['MemoryMax', 'uint64 1', 'containers may not set this property'],
  ['Slice', "'x.slice'", 'containers may not set this property'],
  ['__proto__', '1', 'containers may not set this property'],
  ['constructor', '1', 'containers may not set this property'],
  ['', '1', 'containers may not set this property'],
  [
    'CollectMode',
    "'inactive'\nSlice='x.slice'",
    String.raw`"'inactive'\nSlice='x.slice'" is not a value for it`,
  ],
  ['CollectMode', 'inactive', '"inactive" is not a value for it'],
  ['CollectMode', "'never'", `"'never'" is not a value for it`],
  ['TimeoutStopUSec', '-1', '"-1" is not a value for it'],
  ['TimeoutStopUSec', "['a']", `"['a']" is not a value for it`],
  ['TimeoutStopUSec', '99999999999999999999', '"99999999999999999999" is not a value for it'],
  ['ManagedOOMMemoryPressureLimit', '4294967296', '"4294967296" is not a value for it'],
];

for (const [name, value, problem] of HOSTILE) {
  test(`annotatedProperties: refuses ${name}: ${JSON.stringify(value)}`, () => {
    const annotation = `${PREFIX}${name}`;
    assert.throws(() => annotatedProperties({ [annotation]: value }), {
      kind: 'InvalidArgument',
      code: 'TS_SYSTEMD_ANNOTATION',
      message: `config.json: annotations[${JSON.stringify(annotation)}]: ${problem}`,
    });
  });
}
