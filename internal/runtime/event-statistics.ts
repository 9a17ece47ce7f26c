/** Cgroup statistics in the form of `events`: runc's, on cgroup v2 as well. */
import type {
  BlkioEntry,
  CgroupStatistics,
  CgroupStatisticsV1,
  CgroupStatisticsV2,
  MemoryEntry,
  PsiStats,
} from '../cgroups/index.ts';

const NS_PER_US = 1000n;

type Value = bigint | number | string | boolean | null | Value[] | { [name: string]: Value };

/** The `data` of a stats event: names, units and omissions of runc's types/events. */
export function eventStatistics(statistics: CgroupStatistics): Value {
  return statistics.version === 1 ? ofV1(statistics) : ofV2(statistics);
}

const ABSENT = { cpuset: {}, intel_rdt: {}, network_interfaces: null };

function ofV1({ cpu, memory, pids, blkio, hugetlb }: CgroupStatisticsV1): Value {
  return {
    ...ABSENT,
    cpu:
      cpu === undefined
        ? {}
        : {
            usage: {
              ...unlessZero({ total: cpu.usage.total }),
              ...(cpu.usage.perCpu.length === 0 ? {} : { percpu: cpu.usage.perCpu }),
              kernel: cpu.usage.kernel,
              user: cpu.usage.user,
            },
            throttling: unlessZero({ ...cpu.throttling }),
          },
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

function ofV2({ cpu, memory, pids, io, hugetlb, memoryEvents }: CgroupStatisticsV2): Value {
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
    ...ABSENT,
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
            swap: memoryEntry({
              limit: memory.swapLimit,
              usage: memory.swapUsage,
              max: memory.swapMaxUsage,
              failcnt: 0n,
            }),
            kernel: memoryEntry(undefined),
            kernelTCP: memoryEntry(undefined),
            raw: { ...memory.raw },
            ...psi(memory.psi),
          },
    pids: pids === undefined ? {} : unlessZero({ ...pids }),
    blkio: {
      ...blkioEntries('ioServiceBytesRecursive', bytes),
      ...blkioEntries('ioServicedRecursive', operations),
      ...psi(io?.psi),
    },
    hugetlb: Object.fromEntries(
      hugetlb.map(({ pagesize, current, max, failcnt }) => [
        pagesize,
        { ...unlessZero({ usage: current, max }), failcnt },
      ]),
    ),
  };
}

function unlessZero(values: Record<string, bigint>): Record<string, Value> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== 0n));
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
