import { posix } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';
import type { CgroupFiles } from './cgroup-files.ts';
import type { CgroupResources, UpdateOptions } from './cgroup-manager.ts';
import { deviceTable, deviceWrites } from './device-rules.ts';
import { badLimit, LimitWriter, noSuchLimit } from './limit-writer.ts';

/** What the kernel takes for cpu.shares (MIN_SHARES and MAX_SHARES of kernel/sched). */
const CPU_SHARES = { min: 2n, max: 262144n };

/**
 * Sets the limits of `resources` on cgroup v1 (kernel Documentation/admin-guide/cgroup-v1). Absent
 * properties, and zeros where the spec has no meaning for zero, change nothing.
 */
export function* setV1Limits(
  files: CgroupFiles,
  directories: Readonly<Record<string, string>>,
  resources: CgroupResources,
  options?: UpdateOptions,
): Operation<void> {
  const limits = new LimitWriter(files, directories, false, options);
  const [unified] = Object.keys(resources.unified ?? {});
  if (unified !== undefined) {
    throw noSuchLimit(`unified[${JSON.stringify(unified)}]`, 1, 'use a machine with cgroup v2');
  }
  yield* setCpuset(limits, resources);
  setDevices(files, limits, directories['devices'], resources);
  yield* setMemory(limits, resources);
  setCpu(limits, resources);
  setPids(limits, resources);
  setBlockIo(limits, resources);
  for (const { pageSize, limit } of resources.hugepageLimits ?? []) {
    limits.set('hugetlb', `hugetlb.${pageSize}.limit_in_bytes`, limit, 'hugepageLimits');
    const reserved = `hugetlb.${pageSize}.rsvd.limit_in_bytes`; // since Linux 5.7
    if (limits.has('hugetlb', reserved)) limits.set('hugetlb', reserved, limit, 'hugepageLimits');
  }
  setNetwork(limits, resources);
  setRdma(limits, resources);
}

function* setCpuset(limits: LimitWriter, { cpu }: CgroupResources): Operation<void> {
  if (cpu?.cpus !== undefined) limits.set('cpuset', 'cpuset.cpus', cpu.cpus, 'cpu.cpus');
  if (cpu?.mems !== undefined) {
    yield* limits.setSlowly('cpuset', 'cpuset.mems', cpu.mems, 'cpu.mems');
  }
}

/**
 * A cpuset of v1 starts without CPUs and memory nodes, and no process can enter it: gives each
 * cgroup from the top of the hierarchy, which has all, down to `directory` what its parent has.
 */
export function inheritCpuset(files: CgroupFiles, directory: string): void {
  const empty = ['cpuset.cpus', 'cpuset.mems'].filter(
    (file) => files.tryRead(`${directory}/${file}`) === '',
  );
  if (empty.length === 0) return;
  const parent = posix.dirname(directory);
  inheritCpuset(files, parent);
  for (const file of empty) {
    files.write(`${directory}/${file}`, files.read(`${parent}/${file}`));
  }
}

function setDevices(
  files: CgroupFiles,
  limits: LimitWriter,
  directory: string | undefined,
  { devices }: CgroupResources,
): void {
  if (devices === undefined) return;
  for (const { allow, value } of deviceWrites(deviceTable(devices))) {
    try {
      limits.set('devices', allow ? 'devices.allow' : 'devices.deny', value, 'devices');
    } catch (thrown) {
      // In a user namespace nobody may change device access, and mknod is impossible anyway.
      if (directory !== undefined && isErrnoOf(thrown, 'EPERM') && isInUserNamespace(files)) return;
      throw thrown;
    }
  }
}

function isErrnoOf(thrown: unknown, errno: 'EPERM' | 'EINVAL'): boolean {
  return thrown instanceof TsError ? thrown.fields['errno'] === errno : isErrno(thrown, errno);
}

/** The first user namespace maps all ids to themselves. */
function isInUserNamespace(files: CgroupFiles): boolean {
  const map = files.tryRead('/proc/self/uid_map')?.trim().split(/\s+/).join(' ');
  return map !== undefined && map !== '0 0 4294967295';
}

/** What the kernel means: a limit below what is in use and cannot be reclaimed, or two limits that contradict each other. */
function explainMemory(error: TsError, file: string, limits: LimitWriter): TsError {
  const advice = memoryAdvice(error.fields['errno'], file, limits);
  if (advice === undefined) return error;
  return new TsError(error.kind, error.message, {
    code: 'TS_CGROUP_BAD_LIMIT',
    advice,
    cause: error,
    fields: error.fields,
  });
}

function memoryAdvice(errno: unknown, file: string, limits: LimitWriter): string | undefined {
  const value = (name: string): string => limits.read('memory', name)?.trim() ?? 'unknown';
  if (errno === 'EBUSY' && file.endsWith('limit_in_bytes')) {
    const usage = value(file.replace('limit_in_bytes', 'usage_in_bytes'));
    const peak = value(file.replace('limit_in_bytes', 'max_usage_in_bytes'));
    return `${usage} bytes are in use (${peak} at most so far): set a limit above that, or have the container use less first`;
  }
  if (errno !== 'EINVAL') return undefined;
  if (file === 'memory.limit_in_bytes') {
    const both = value('memory.memsw.limit_in_bytes');
    return `memory and swap together are limited to ${both}: raise memory.swap in the same update`;
  }
  if (file === 'memory.memsw.limit_in_bytes') {
    const alone = value('memory.limit_in_bytes');
    return `memory alone is limited to ${alone}: lower memory.limit in the same update`;
  }
  return undefined;
}

function* setMemory(limits: LimitWriter, { memory }: CgroupResources): Operation<void> {
  if (memory === undefined) return;
  function* set(file: string, value: bigint, property: string): Operation<void> {
    try {
      yield* limits.setSlowly('memory', file, value, `memory.${property}`);
    } catch (thrown) {
      throw explainMemory(TsError.from(thrown), file, limits);
    }
  }
  const limit = memory.limit ?? 0n;
  let swap = memory.swap ?? 0n;
  const hasSwap = (): boolean => limits.has('memory', 'memory.memsw.limit_in_bytes');
  // Unlimited memory under a limit of memory and swap together would not be unlimited.
  if (limit === -1n && swap === 0n && hasSwap()) swap = -1n;
  if (limit > 0n && memory.checkBeforeUpdate === true) {
    const usage = BigInt(limits.read('memory', 'memory.usage_in_bytes') ?? 0);
    if (limit < usage) throw badLimit('memory.limit', `${limit} is below the usage, ${usage}`);
  }
  if (swap > 0n && limit > 0n && swap < limit) {
    throw badLimit('memory.swap', `${swap} is memory and swap together and below limit, ${limit}`);
  }
  function* setLimit(): Operation<void> {
    if (limit !== 0n) yield* set('memory.limit_in_bytes', limit, 'limit');
  }
  function* setSwap(): Operation<void> {
    if (swap !== 0n) yield* set('memory.memsw.limit_in_bytes', swap, 'swap');
  }
  // At each moment memory <= memory and swap must hold: whichever makes room goes first.
  const current = swap === 0n ? '0' : (limits.read('memory', 'memory.limit_in_bytes') ?? '0');
  if (swap === -1n || BigInt(current) < swap) {
    yield* setSwap();
    yield* setLimit();
  } else {
    yield* setLimit();
    yield* setSwap();
  }
  if ((memory.kernel ?? 0n) > 0n) {
    yield* set('memory.kmem.limit_in_bytes', memory.kernel as bigint, 'kernel');
  }
  if ((memory.kernelTCP ?? 0n) > 0n) {
    yield* set('memory.kmem.tcp.limit_in_bytes', memory.kernelTCP as bigint, 'kernelTCP');
  }
  const reservation = memory.reservation ?? 0n;
  if (reservation !== 0n) yield* set('memory.soft_limit_in_bytes', reservation, 'reservation');
  if (memory.disableOOMKiller === true) yield* set('memory.oom_control', 1n, 'disableOOMKiller');
  if (memory.swappiness !== undefined) {
    yield* set('memory.swappiness', memory.swappiness, 'swappiness');
  }
  if (memory.useHierarchy !== undefined) {
    // Always on since Linux 5.11: only what differs is written, and then refused by the kernel.
    const wanted = memory.useHierarchy ? '1' : '0';
    if (limits.read('memory', 'memory.use_hierarchy') !== wanted) {
      yield* set('memory.use_hierarchy', BigInt(wanted), 'useHierarchy');
    }
  }
}

function setCpu(limits: LimitWriter, { cpu }: CgroupResources): void {
  if (cpu === undefined) return;
  const shares = cpu.shares ?? 0n;
  if (shares !== 0n) {
    if (shares < CPU_SHARES.min || shares > CPU_SHARES.max) {
      throw badLimit(
        'cpu.shares',
        `${shares} is not between ${CPU_SHARES.min} and ${CPU_SHARES.max}`,
      );
    }
    limits.set('cpu', 'cpu.shares', shares, 'cpu.shares');
  }
  setRealtime(limits, cpu.realtimePeriod ?? 0n, cpu.realtimeRuntime ?? 0n);
  // Period, burst and quota are checked against each other and against the parent at each write. A
  // value that does not fit the old quota is tried again when the new quota is there.
  const quota = cpu.quota ?? 0n;
  const retries: (() => void)[] = [];
  const attempt = (file: string, value: bigint | undefined, property: string): void => {
    if (value === undefined) return;
    const write = (): void => limits.set('cpu', file, value, property);
    try {
      write();
    } catch (thrown) {
      if (quota === 0n || !isErrnoOf(thrown, 'EINVAL')) throw thrown;
      retries.push(write);
    }
  };
  attempt('cpu.cfs_period_us', cpu.period === 0n ? undefined : cpu.period, 'cpu.period');
  attempt('cpu.cfs_burst_us', cpu.burst, 'cpu.burst');
  if (quota !== 0n) limits.set('cpu', 'cpu.cfs_quota_us', quota, 'cpu.quota');
  for (const write of retries) write();
  if (cpu.idle !== undefined) limits.set('cpu', 'cpu.idle', cpu.idle, 'cpu.idle');
}

/** The runtime must stay below the period, the period above the runtime: the order depends. */
function setRealtime(limits: LimitWriter, period: bigint, runtime: bigint): void {
  const setPeriod = (): void => {
    if (period !== 0n) limits.set('cpu', 'cpu.rt_period_us', period, 'cpu.realtimePeriod');
  };
  let isPeriodSet = true;
  try {
    setPeriod();
  } catch (thrown) {
    if (runtime === 0n || !isErrnoOf(thrown, 'EINVAL')) throw thrown;
    isPeriodSet = false;
  }
  if (runtime !== 0n) limits.set('cpu', 'cpu.rt_runtime_us', runtime, 'cpu.realtimeRuntime');
  if (!isPeriodSet) setPeriod();
}

function setPids(limits: LimitWriter, { pids }: CgroupResources): void {
  const limit = pids?.limit ?? 0n;
  if (limit !== 0n) limits.set('pids', 'pids.max', limit < 0n ? 'max' : limit, 'pids.limit');
}

function setBlockIo(limits: LimitWriter, { blockIO }: CgroupResources): void {
  if (blockIO === undefined) return;
  const set = (file: string, value: string | number, property: string): void =>
    limits.set('blkio', file, value, `blockIO.${property}`);
  // CFQ's files until Linux 5.0, then BFQ's.
  const weightFile = limits.has('blkio', 'blkio.weight') ? 'blkio.weight' : 'blkio.bfq.weight';
  if ((blockIO.weight ?? 0) !== 0) set(weightFile, blockIO.weight as number, 'weight');
  if ((blockIO.leafWeight ?? 0) !== 0) {
    set('blkio.leaf_weight', blockIO.leafWeight as number, 'leafWeight');
  }
  for (const { major, minor, weight, leafWeight } of blockIO.weightDevice ?? []) {
    const device = `${major}:${minor}`;
    if ((weight ?? 0) !== 0) set(`${weightFile}_device`, `${device} ${weight}`, 'weightDevice');
    if ((leafWeight ?? 0) !== 0) {
      set('blkio.leaf_weight_device', `${device} ${leafWeight}`, 'weightDevice');
    }
  }
  for (const [property, file] of V1_THROTTLES) {
    for (const { major, minor, rate } of blockIO[property] ?? []) {
      set(`blkio.throttle.${file}_device`, `${major}:${minor} ${rate}`, property);
    }
  }
}

const V1_THROTTLES = [
  ['throttleReadBpsDevice', 'read_bps'],
  ['throttleWriteBpsDevice', 'write_bps'],
  ['throttleReadIOPSDevice', 'read_iops'],
  ['throttleWriteIOPSDevice', 'write_iops'],
] as const;

function setNetwork(limits: LimitWriter, { network }: CgroupResources): void {
  if ((network?.classID ?? 0) !== 0) {
    limits.set('net_cls', 'net_cls.classid', network?.classID as number, 'network.classID');
  }
  for (const { name, priority } of network?.priorities ?? []) {
    limits.set('net_prio', 'net_prio.ifpriomap', `${name} ${priority}`, 'network.priorities');
  }
}

/** The same on both versions. */
export function setRdma(limits: LimitWriter, { rdma }: CgroupResources): void {
  for (const [device, { hcaHandles, hcaObjects }] of Object.entries(rdma ?? {})) {
    const parts = [device];
    if (hcaHandles !== undefined) parts.push(`hca_handle=${hcaHandles}`);
    if (hcaObjects !== undefined) parts.push(`hca_object=${hcaObjects}`);
    if (parts.length > 1) limits.set('rdma', 'rdma.max', parts.join(' '), `rdma.${device}`);
  }
}
