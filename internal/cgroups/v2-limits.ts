import { openSync } from 'node:fs';
import {
  attachDeviceProgram,
  attachedDevicePrograms,
  detachDeviceProgram,
  loadDeviceProgram,
  type Operation,
  OwnedFd,
} from '../linux/index.ts';
import type { CgroupFiles } from './cgroup-files.ts';
import type { CgroupResources, UpdateOptions } from './cgroup-manager.ts';
import { deviceFilter } from './device-filter.ts';
import { deviceTable } from './device-rules.ts';
import { badLimit, LimitWriter, noSuchLimit } from './limit-writer.ts';
import { setRdma } from './v1-limits.ts';
import { cpuWeight, ioWeight, swapLimit } from './v2-conversions.ts';

/**
 * Sets the limits of `resources`, which have the names and units of cgroup v1, on cgroup v2 (kernel
 * Documentation/admin-guide/cgroup-v2.rst). Absent properties, and zeros where the spec has no
 * meaning for zero, change nothing.
 */
export function* setV2Limits(
  files: CgroupFiles,
  directory: string,
  resources: CgroupResources,
  options?: UpdateOptions,
): Operation<void> {
  const limits = new LimitWriter(files, { '': directory }, true, options);
  refuseV1Only(resources);
  const pids = resources.pids?.limit ?? 0n;
  if (pids !== 0n) limits.set('pids', 'pids.max', pids < 0n ? 'max' : pids, 'pids.limit');
  yield* setMemory(limits, resources);
  setIo(limits, resources);
  setCpu(limits, resources);
  const { cpu } = resources;
  if (cpu?.cpus !== undefined) limits.set('cpuset', 'cpuset.cpus', cpu.cpus, 'cpu.cpus');
  if (cpu?.mems !== undefined) {
    yield* limits.setSlowly('cpuset', 'cpuset.mems', cpu.mems, 'cpu.mems');
  }
  for (const { pageSize, limit } of resources.hugepageLimits ?? []) {
    limits.set('hugetlb', `hugetlb.${pageSize}.max`, limit, 'hugepageLimits');
    const reserved = `hugetlb.${pageSize}.rsvd.max`; // since Linux 5.7
    if (limits.has('hugetlb', reserved)) limits.set('hugetlb', reserved, limit, 'hugepageLimits');
  }
  setRdma(limits, resources);
  for (const [file, value] of Object.entries(resources.unified ?? {})) {
    const controller = file.split('.', 1)[0] ?? '';
    yield* limits.setSlowly(controller, file, value, `unified[${JSON.stringify(file)}]`);
  }
}

/** What was dropped with cgroup v2 and has no successor. */
function refuseV1Only({ memory, cpu, blockIO, network }: CgroupResources): void {
  const given: readonly (readonly [string, boolean])[] = [
    ['memory.kernel', (memory?.kernel ?? 0n) > 0n],
    ['memory.kernelTCP', (memory?.kernelTCP ?? 0n) > 0n],
    ['memory.swappiness', memory?.swappiness !== undefined],
    ['memory.disableOOMKiller', memory?.disableOOMKiller === true],
    ['memory.useHierarchy', memory?.useHierarchy === false],
    ['cpu.realtimePeriod', (cpu?.realtimePeriod ?? 0n) !== 0n],
    ['cpu.realtimeRuntime', (cpu?.realtimeRuntime ?? 0n) !== 0n],
    ['blockIO.leafWeight', (blockIO?.leafWeight ?? 0) !== 0],
    ['network.classID', (network?.classID ?? 0) !== 0],
    ['network.priorities', (network?.priorities ?? []).length > 0],
  ];
  for (const [property, isGiven] of given) {
    if (isGiven) throw noSuchLimit(property, 2, 'leave the property out');
  }
}

function* setMemory(limits: LimitWriter, { memory }: CgroupResources): Operation<void> {
  if (memory === undefined) return;
  const limit = memory.limit ?? 0n;
  if (limit > 0n && memory.checkBeforeUpdate === true) {
    const usage = BigInt(limits.read('memory', 'memory.current') ?? 0);
    if (limit < usage) throw badLimit('memory.limit', `${limit} is below the usage, ${usage}`);
  }
  const swap =
    swapLimit(memory.swap ?? 0n, limit === 0n ? currentMemory(limits) : limit) ??
    restOfSwap(limits, limit);
  if (swap !== undefined) {
    // A kernel without swap accounting has no such file; no limit and no swap are then true anyway.
    const isAsWithout = swap === 'max' || swap === 0n;
    if (!isAsWithout || limits.has('memory', 'memory.swap.max')) {
      limits.set('memory', 'memory.swap.max', swap, 'memory.swap');
    }
  }
  if (limit !== 0n) {
    const value = limit === -1n ? 'max' : limit;
    yield* limits.setSlowly('memory', 'memory.max', value, 'memory.limit');
  }
  const reservation = memory.reservation ?? 0n;
  if (reservation !== 0n) {
    const value = reservation === -1n ? 'max' : reservation;
    limits.set('memory', 'memory.low', value, 'memory.reservation');
  }
}

/** The limit that is set already, as the spec writes it: 0 if there is none. */
function currentMemory(limits: LimitWriter): bigint {
  const current = limits.read('memory', 'memory.max') ?? 'max';
  return current === 'max' ? 0n : BigInt(current);
}

function setIo(limits: LimitWriter, { blockIO }: CgroupResources): void {
  if (blockIO === undefined) return;
  // BFQ takes the spec's range 1 to 1000 as it is, and weights of single devices; io.weight neither.
  const hasBfq = limits.has('io', 'io.bfq.weight');
  const weight = blockIO.weight ?? 0;
  if (weight !== 0) {
    if (hasBfq) limits.set('io', 'io.bfq.weight', weight, 'blockIO.weight');
    else limits.set('io', 'io.weight', ioWeight(weight), 'blockIO.weight');
  }
  for (const { major, minor, weight: ofDevice, leafWeight } of blockIO.weightDevice ?? []) {
    if ((leafWeight ?? 0) !== 0) throw noSuchLimit('blockIO.weightDevice', 2);
    if ((ofDevice ?? 0) === 0) continue;
    const value = `${major}:${minor} ${ofDevice}`;
    limits.set('io', 'io.bfq.weight', value, 'blockIO.weightDevice');
  }
  for (const [property, name] of V2_THROTTLES) {
    for (const { major, minor, rate } of blockIO[property] ?? []) {
      const value = `${major}:${minor} ${name}=${rate === 0n ? 'max' : rate}`;
      limits.set('io', 'io.max', value, `blockIO.${property}`);
    }
  }
}

const V2_THROTTLES = [
  ['throttleReadBpsDevice', 'rbps'],
  ['throttleWriteBpsDevice', 'wbps'],
  ['throttleReadIOPSDevice', 'riops'],
  ['throttleWriteIOPSDevice', 'wiops'],
] as const;

function setCpu(limits: LimitWriter, { cpu }: CgroupResources): void {
  if (cpu === undefined) return;
  if (cpu.idle !== undefined) limits.set('cpu', 'cpu.idle', cpu.idle, 'cpu.idle');
  const shares = cpu.shares ?? 0n;
  // The weight of an idle cgroup is fixed, and the kernel refuses to change it.
  if (shares !== 0n && cpu.idle !== 1) {
    limits.set('cpu', 'cpu.weight', cpuWeight(shares), 'cpu.shares');
  }
  const quota = cpu.quota ?? 0n;
  const period = cpu.period ?? 0n;
  const setBurst = (): void => {
    if (cpu.burst !== undefined) limits.set('cpu', 'cpu.max.burst', cpu.burst, 'cpu.burst');
  };
  // One file holds both: what is not given stays.
  const setMax = (): void => {
    const runtime = quota > 0n ? String(quota) : 'max';
    if (period !== 0n) {
      const kept = limits.read('cpu', 'cpu.max')?.split(' ')[0] ?? 'max';
      const value = `${quota === 0n ? kept : runtime} ${period}`;
      limits.set('cpu', 'cpu.max', value, quota === 0n ? 'cpu.period' : 'cpu.quota');
    } else if (quota !== 0n) {
      limits.set('cpu', 'cpu.max', runtime, 'cpu.quota');
    }
  };
  // The burst may not exceed the quota: a smaller one first, a greater one after.
  const currentBurst =
    cpu.burst === undefined ? 0n : BigInt(limits.read('cpu', 'cpu.max.burst') ?? 0);
  if (cpu.burst !== undefined && cpu.burst < currentBurst) {
    setBurst();
    setMax();
  } else {
    setMax();
    setBurst();
  }
}

/**
 * Restricts devices by a filter in place of those that this cgroup has. `isNew` says that it cannot
 * have one yet.
 */
export function setV2Devices(
  directory: string,
  devices: NonNullable<CgroupResources['devices']>,
  isNew: boolean,
): void {
  using filter = loadDeviceProgram(deviceFilter(deviceTable(devices)));
  using cgroup = new OwnedFd(openSync(directory, 'r'));
  using old = new DisposableStack();
  const programs = isNew ? [] : attachedDevicePrograms(cgroup.number).map((fd) => old.use(fd));
  const [only, ...more] = programs;
  if (only !== undefined && more.length === 0) {
    attachDeviceProgram(cgroup.number, filter, only); // at no moment none or both
    return;
  }
  attachDeviceProgram(cgroup.number, filter);
  for (const program of programs) detachDeviceProgram(cgroup.number, program);
}

/**
 * memory.swap of the configuration limits memory and swap together, which the kernel of v2 does not know: a new limit of memory
 * alone leaves the sum as it was, as v1 does by itself. Undefined where there is no sum, or where it would be exceeded.
 */
function restOfSwap(limits: LimitWriter, limit: bigint): bigint | undefined {
  if (limit <= 0n) return undefined;
  const memory = currentMemory(limits);
  const swap = limits.read('memory', 'memory.swap.max') ?? 'max';
  if (memory === 0n || swap === 'max') return undefined;
  const rest = memory + BigInt(swap) - limit;
  return rest < 0n ? undefined : rest;
}
