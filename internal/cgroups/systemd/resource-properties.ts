/**
 * A container's limits as properties of its unit (man 5 systemd.resource-control). systemd must know them, or it takes
 * them back when it next writes to the cgroup (`systemctl daemon-reload`). What it has no property for, and what it
 * rounds, is written to the cgroup's files as well, by the same code as without systemd.
 */
import { TsError } from '../../errors/index.ts';
import type { CgroupResources } from '../cgroup-manager.ts';
import { cpuWeight, ioWeight, swapLimit } from '../v2-conversions.ts';
import { count, INFINITY, type UnitProperty } from './unit-property.ts';

/** What the systemd at hand can do. */
export interface SystemdFacts {
  /** Major version, such as 257. */
  readonly version: number;
  /** Whether it manages pure cgroup v2. */
  readonly isUnified: boolean;
}

/** The properties for limits, devices left out. `memoryLimit` is the limit of now, which an update may leave alone. */
export function resourceProperties(
  resources: CgroupResources,
  facts: SystemdFacts,
  memoryLimit = 0n,
): UnitProperty[] {
  const properties = facts.isUnified
    ? [...v2Properties(resources, facts, memoryLimit), ...unifiedProperties(resources, facts)]
    : v1Properties(resources);
  const { cpu, pids } = resources;
  properties.push(...quotaProperties(cpu?.quota ?? 0n, cpu?.period ?? 0n, facts));
  const limit = pids?.limit ?? 0n;
  if (limit !== 0n) properties.push(count('TasksMax', limit));
  if (facts.version >= ALLOWED_CPUS_SINCE) {
    if ((cpu?.cpus ?? '') !== '') properties.push(cpuMask('AllowedCPUs', cpu?.cpus, 'cpu.cpus'));
    if ((cpu?.mems ?? '') !== '') {
      properties.push(cpuMask('AllowedMemoryNodes', cpu?.mems, 'cpu.mems'));
    }
  }
  return lastOfEach(properties);
}

/** The later wins, as the later write would: `unified` over the property of the same limit. */
function lastOfEach(properties: readonly UnitProperty[]): UnitProperty[] {
  return [...new Map(properties.map((property) => [property.name, property])).values()];
}

function v2Properties(
  { memory, cpu, blockIO }: CgroupResources,
  { version }: SystemdFacts,
  memoryLimit: bigint,
): UnitProperty[] {
  const properties: UnitProperty[] = [];
  const limit = memory?.limit ?? 0n;
  const reservation = memory?.reservation ?? 0n;
  if (limit !== 0n) properties.push(count('MemoryMax', limit));
  if (reservation !== 0n) properties.push(count('MemoryLow', reservation));
  const swap = swapLimit(memory?.swap ?? 0n, limit === 0n ? memoryLimit : limit);
  if (swap !== undefined) properties.push(count('MemorySwapMax', swap === 'max' ? INFINITY : swap));
  const shares = cpu?.shares ?? 0n;
  if (cpu?.idle === 1 && version >= IDLE_SINCE) properties.push(count('CPUWeight', 0n));
  else if (shares !== 0n) properties.push(count('CPUWeight', BigInt(cpuWeight(shares))));
  const weight = blockIO?.weight ?? 0;
  if (weight !== 0) properties.push(count('IOWeight', BigInt(ioWeight(weight))));
  return properties;
}

function v1Properties({ memory, cpu, blockIO }: CgroupResources): UnitProperty[] {
  const properties: UnitProperty[] = [];
  const limit = memory?.limit ?? 0n;
  if (limit !== 0n) properties.push(count('MemoryLimit', limit));
  const shares = cpu?.shares ?? 0n;
  if (shares !== 0n) properties.push(count('CPUShares', shares));
  const weight = blockIO?.weight ?? 0;
  if (weight !== 0) properties.push(count('BlockIOWeight', BigInt(weight)));
  return properties;
}

const IDLE_SINCE = 252;
const ALLOWED_CPUS_SINCE = 244;
const QUOTA_PERIOD_SINCE = 242;
const USUAL_PERIOD_US = 100000n;

/** systemd counts the quota by the second, in steps of 10 ms; what is between would become no limit, so upwards. */
function quotaProperties(quota: bigint, period: bigint, { version }: SystemdFacts): UnitProperty[] {
  const properties: UnitProperty[] = [];
  if (period !== 0n && version >= QUOTA_PERIOD_SINCE) {
    properties.push(count('CPUQuotaPeriodUSec', period));
  }
  if (quota < 0n) properties.push(count('CPUQuotaPerSecUSec', INFINITY));
  else if (quota > 0n) {
    const perSecond = (quota * 1000000n) / (period === 0n ? USUAL_PERIOD_US : period);
    const steps = (perSecond + 9999n) / 10000n;
    properties.push(count('CPUQuotaPerSecUSec', steps * 10000n));
  }
  return properties;
}

/** Files of `unified` that systemd has properties for. */
function unifiedProperties({ unified = {} }: CgroupResources, facts: SystemdFacts): UnitProperty[] {
  const properties: UnitProperty[] = [];
  for (const [file, value] of Object.entries(unified)) {
    const property = `unified[${JSON.stringify(file)}]`;
    const known = Object.hasOwn(UNIFIED_LIMITS, file) ? UNIFIED_LIMITS[file] : undefined;
    if (known !== undefined) properties.push(count(known, limitOf(value, property)));
    else if (file === 'cpu.idle') {
      if (value.trim() === '1' && facts.version >= IDLE_SINCE)
        properties.push(count('CPUWeight', 0n));
    } else if (file === 'cpu.max') {
      const [quota = '', period = '100000'] = value.trim().split(/\s+/);
      properties.push(
        ...quotaProperties(limitOf(quota, property), limitOf(period, property), facts),
      );
    } else if (file === 'cpuset.cpus' || file === 'cpuset.mems') {
      if (facts.version < ALLOWED_CPUS_SINCE || value.trim() === '') continue;
      const name = file === 'cpuset.cpus' ? 'AllowedCPUs' : 'AllowedMemoryNodes';
      properties.push(cpuMask(name, value.trim(), property));
    }
  }
  return properties;
}

const UNIFIED_LIMITS: Readonly<Record<string, string>> = {
  'cpu.weight': 'CPUWeight',
  'memory.high': 'MemoryHigh',
  'memory.low': 'MemoryLow',
  'memory.min': 'MemoryMin',
  'memory.max': 'MemoryMax',
  'memory.swap.max': 'MemorySwapMax',
  'pids.max': 'TasksMax',
};

/** A number, or `max` for none: -1. */
function limitOf(value: string, property: string): bigint {
  const word = value.trim();
  if (word === 'max') return -1n;
  if (/^[0-9]{1,19}$/.test(word)) return BigInt(word);
  throw new TsError(
    'InvalidArgument',
    `linux.resources.${property}: ${JSON.stringify(value)} is neither a number nor max`,
    { code: 'TS_CGROUP_BAD_LIMIT', fields: { property: `linux.resources.${property}` } },
  );
}

/** A list such as `0-2,5` as systemd's bytes: bit N of byte N/8 is CPU N. */
function cpuMask(name: string, list: string | undefined, property: string): UnitProperty {
  const bytes: number[] = [];
  for (const range of (list ?? '').split(',')) {
    const [, first, last = first] = /^\s*([0-9]{1,5})(?:-([0-9]{1,5}))?\s*$/.exec(range) ?? [];
    if (first === undefined || Number(last) < Number(first) || Number(last) > GREATEST_CPU) {
      throw new TsError(
        'InvalidArgument',
        `linux.resources.${property}: ${JSON.stringify(list)} is not a list of numbers and ranges`,
        { code: 'TS_CGROUP_BAD_LIMIT', fields: { property: `linux.resources.${property}` } },
      );
    }
    for (let cpu = Number(first); cpu <= Number(last); cpu++) {
      while (bytes.length <= cpu >> 3) bytes.push(0);
      bytes[cpu >> 3] = (bytes[cpu >> 3] ?? 0) | (1 << (cpu & 7));
    }
  }
  return { name, type: 'ay', value: Buffer.from(bytes) };
}

/** The kernel's greatest NR_CPUS. */
const GREATEST_CPU = 8191;
