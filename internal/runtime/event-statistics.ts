/** Cgroup statistics in the form of `events`: runc's, on cgroup v2 as well. */
import {
  type BlkioEntry,
  type CgroupManager,
  type CgroupStatisticsV1,
  type CgroupStatisticsV2,
  type MemoryEntry,
  type PsiStats,
  type ResctrlStatistics,
  readV1EventDetails,
  type V1EventDetails,
} from '../cgroups/index.ts';

const NS_PER_US = 1000n;
/** How statistics write `max`. */
const UNLIMITED = 18446744073709551615n;

type Value =
  | bigint
  | number
  | string
  | boolean
  | null
  | readonly Value[]
  | { readonly [name: string]: Value };

/** The `data` of a stats event: names, units and omissions of runc's types/events. */
export function eventStatistics(
  cgroup: CgroupManager,
  resctrl: ResctrlStatistics | undefined,
): Value {
  const statistics = cgroup.statistics();
  const others = {
    intel_rdt: resctrl === undefined ? {} : ofResctrl(resctrl),
    network_interfaces: null,
  };
  if (statistics.version === 1) {
    return { ...ofV1(statistics, readV1EventDetails(cgroup.paths)), ...others };
  }
  // runc has zeros for what v2 does not have.
  return { ...ofV2(statistics, readV1EventDetails({})), ...others };
}

function ofV1(
  { cpu, memory, pids, blkio, hugetlb }: CgroupStatisticsV1,
  { perCpuKernel, perCpuUser, cpuset }: V1EventDetails,
): Record<string, Value> {
  return {
    cpu:
      cpu === undefined
        ? {}
        : {
            usage: {
              ...unlessZero({ total: cpu.usage.total }),
              ...unlessEmpty({
                percpu: cpu.usage.perCpu,
                percpu_kernel: perCpuKernel,
                percpu_user: perCpuUser,
              }),
              kernel: cpu.usage.kernel,
              user: cpu.usage.user,
            },
            throttling: unlessZero({ ...cpu.throttling }),
          },
    cpuset,
    memory:
      memory === undefined
        ? {}
        : {
            ...unlessZero({ cache: memory.cache }),
            usage: memoryEntry(memory.usage),
            swap: memoryEntry(memory.swap),
            kernel: memoryEntry(memory.kernel),
            kernelTCP: memoryEntry(memory.kernelTcp),
            raw: { ...memory.raw },
          },
    pids: pids === undefined ? {} : unlessZero({ ...pids }),
    blkio:
      blkio === undefined
        ? {}
        : {
            ...blkioEntries('ioServiceBytesRecursive', blkio.ioServiceBytesRecursive),
            ...blkioEntries('ioServicedRecursive', blkio.ioServicedRecursive),
            ...blkioEntries('ioQueueRecursive', blkio.ioQueuedRecursive),
            ...blkioEntries('ioServiceTimeRecursive', blkio.ioServiceTimeRecursive),
            ...blkioEntries('ioWaitTimeRecursive', blkio.ioWaitTimeRecursive),
            ...blkioEntries('ioMergedRecursive', blkio.ioMergedRecursive),
            ...blkioEntries('ioTimeRecursive', blkio.ioTimeRecursive),
            ...blkioEntries('sectorsRecursive', blkio.sectorsRecursive),
          },
    hugetlb: Object.fromEntries(
      hugetlb.map(({ pagesize, usage, max, failcnt }) => [
        pagesize,
        { ...unlessZero({ usage, max }), failcnt },
      ]),
    ),
  };
}

function ofV2(
  { cpu, memory, pids, io, hugetlb, memoryEvents }: CgroupStatisticsV2,
  { cpuset }: V1EventDetails,
): Record<string, Value> {
  const entry = (op: string, major: bigint, minor: bigint, value: bigint): BlkioEntry => ({
    op,
    device: '',
    major,
    minor,
    value,
  });
  const usage = io?.usage ?? [];
  const bytes = usage.flatMap(({ major, minor, rbytes, wbytes }) => [
    entry('Read', major, minor, rbytes),
    entry('Write', major, minor, wbytes),
  ]);
  const operations = usage.flatMap(({ major, minor, rios, wios }) => [
    entry('Read', major, minor, rios),
    entry('Write', major, minor, wios),
  ]);
  return {
    cpu:
      cpu === undefined
        ? {}
        : {
            usage: {
              ...unlessZero({ total: cpu.usageUsec * NS_PER_US }),
              kernel: cpu.systemUsec * NS_PER_US,
              user: cpu.userUsec * NS_PER_US,
            },
            throttling: unlessZero({
              periods: cpu.nrPeriods,
              throttledPeriods: cpu.nrThrottled,
              throttledTime: cpu.throttledUsec * NS_PER_US,
            }),
            ...psi(cpu.psi),
          },
    cpuset,
    memory:
      memory === undefined
        ? {}
        : {
            ...unlessZero({ cache: memory.file }),
            usage: memoryEntry({
              limit: memory.usageLimit,
              usage: memory.usage,
              max: memory.maxUsage,
              failcnt: memoryEvents?.max ?? 0n,
            }),
            // Memory and swap together, as v1 counts them; nobody counts the most that this was.
            swap: memoryEntry({
              limit: limitOfBoth(memory.usageLimit, memory.swapLimit),
              usage: memory.usage + memory.swapUsage,
              max: 0n,
              failcnt: 0n,
            }),
            kernel: memoryEntry(undefined),
            kernelTCP: memoryEntry(undefined),
            raw: { ...memory.raw },
            ...psi(memory.psi),
          },
    pids:
      pids === undefined
        ? {}
        : unlessZero({ ...pids, limit: pids.limit === UNLIMITED ? 0n : pids.limit }),
    blkio: {
      ...blkioEntries('ioServiceBytesRecursive', bytes),
      ...blkioEntries('ioServicedRecursive', operations),
      ...psi(io?.psi),
    },
    hugetlb: Object.fromEntries(
      // `max` is the most that was used, for which v2 has no file.
      hugetlb.map(({ pagesize, current, failcnt }) => [
        pagesize,
        { ...unlessZero({ usage: current }), failcnt },
      ]),
    ),
  };
}

function limitOfBoth(memory: bigint, swap: bigint): bigint {
  return memory === UNLIMITED || swap === UNLIMITED ? UNLIMITED : memory + swap;
}

/** runc's `intel_rdt`: what is empty or zero is left out, the counters of a cache aside. */
export function ofResctrl(statistics: ResctrlStatistics): Record<string, Value> {
  const { l3, mb, schemata, caches, counters } = statistics;
  const has = (name: string) => caches.length > 0 && counters.includes(name);
  return {
    ...(l3 === undefined
      ? {}
      : {
          l3_cache_info: {
            ...unlessNoText({ cbm_mask: l3.cbmMask }),
            ...unlessZero({ min_cbm_bits: l3.minCbmBits, num_closids: l3.numClosids }),
          },
          ...unlessNoText({ l3_cache_schema_root: l3.rootSchema, l3_cache_schema: l3.schema }),
        }),
    ...(mb === undefined
      ? {}
      : {
          mem_bw_info: unlessZero({
            bandwidth_gran: mb.granularity,
            delay_linear: mb.delayLinear,
            min_bandwidth: mb.minBandwidth,
            num_closids: mb.numClosids,
          }),
          ...unlessNoText({ mem_bw_schema_root: mb.rootSchema, mem_bw_schema: mb.schema }),
        }),
    ...(schemata.length === 0 ? {} : { schemata }),
    ...(has('mbm_total_bytes') || has('mbm_local_bytes')
      ? {
          mbm_stats: caches.map(({ mbmTotalBytes, mbmLocalBytes }) => ({
            ...(mbmTotalBytes === undefined ? {} : { mbm_total_bytes: mbmTotalBytes }),
            ...(mbmLocalBytes === undefined ? {} : { mbm_local_bytes: mbmLocalBytes }),
          })),
        }
      : {}),
    ...(has('llc_occupancy')
      ? {
          cmt_stats: caches.map(({ llcOccupancyBytes }) =>
            llcOccupancyBytes === undefined ? {} : { llc_occupancy: llcOccupancyBytes },
          ),
        }
      : {}),
  };
}

function unlessNoText(values: Record<string, string>): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ''));
}

function unlessZero(values: Record<string, bigint>): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== 0n));
}

function unlessEmpty(lists: Record<string, readonly bigint[]>): Record<string, Value> {
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0));
}

function memoryEntry(entry: MemoryEntry | undefined): Value {
  const { limit = 0n, usage = 0n, max = 0n, failcnt = 0n } = entry ?? {};
  return { limit, ...unlessZero({ usage, max }), failcnt };
}

function blkioEntries(name: string, entries: readonly BlkioEntry[]): Record<string, Value> {
  if (entries.length === 0) return {};
  const list = entries.map(({ op, major, minor, value }) => ({
    ...unlessZero({ major, minor }),
    ...(op === '' ? {} : { op }),
    ...unlessZero({ value }),
  }));
  return { [name]: list };
}

function psi(stats: PsiStats | undefined): Record<string, Value> {
  return stats === undefined ? {} : { psi: { some: { ...stats.some }, full: { ...stats.full } } };
}
