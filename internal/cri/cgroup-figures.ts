import { unpackAny } from '../api/any.ts';
import { Metrics as V1Metrics } from '../api/generated/io.containerd.cgroups.v1.ts';
import { Metrics as V2Metrics } from '../api/generated/io.containerd.cgroups.v2.ts';
import type { CgroupStatistics } from '../cgroups/index.ts';

/** Waiting for a resource, as the kernel tells it (Documentation/accounting/psi.rst); `total` in microseconds. */
export interface Pressure {
  readonly some: PressureLine | undefined;
  readonly full: PressureLine | undefined;
}

export interface PressureLine {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  readonly total: bigint;
}

/** What both versions of cgroups tell, in nanoseconds and bytes. A part is undefined when its controller is missing. */
export interface CgroupFigures {
  readonly cpu: CpuFigures | undefined;
  readonly memory: MemoryFigures | undefined;
  readonly processes: bigint | undefined;
  /** Of processes and threads; undefined when there is no limit. */
  readonly processesLimit: bigint | undefined;
  readonly hugePages: readonly HugePageFigures[];
  readonly devices: readonly DeviceFigures[];
  readonly ioPressure: Pressure | undefined;
}

export interface HugePageFigures {
  /** As the kernel writes it: `2MB`. */
  readonly size: string;
  readonly usageBytes: bigint;
  /** Undefined on v2, which does not keep it. */
  readonly maxUsageBytes: bigint | undefined;
}

/** What was read of and written to a block device. */
export interface DeviceFigures {
  readonly major: bigint;
  readonly minor: bigint;
  readonly reads: bigint;
  readonly writes: bigint;
  readonly readBytes: bigint;
  readonly writtenBytes: bigint;
}

export interface CpuFigures {
  readonly usageNs: bigint;
  readonly userNs: bigint;
  readonly systemNs: bigint;
  readonly periods: bigint;
  readonly throttledPeriods: bigint;
  readonly throttledNs: bigint;
  readonly pressure: Pressure | undefined;
}

export interface MemoryFigures {
  readonly usageBytes: bigint;
  readonly maxUsageBytes: bigint;
  /** What cannot be had back without swapping: usage without files that were not used of late (cAdvisor's figure). */
  readonly workingSetBytes: bigint;
  /** Undefined when there is no limit. */
  readonly limitBytes: bigint | undefined;
  readonly rssBytes: bigint;
  readonly cacheBytes: bigint;
  readonly mappedFileBytes: bigint;
  readonly activeFileBytes: bigint;
  readonly inactiveFileBytes: bigint;
  readonly kernelBytes: bigint;
  readonly pageFaults: bigint;
  readonly majorPageFaults: bigint;
  /** How often the limit was met. */
  readonly failures: bigint;
  readonly oomKills: bigint;
  /** Undefined where swap is not counted. */
  readonly swapBytes: bigint | undefined;
  readonly swapLimitBytes: bigint | undefined;
  readonly pressure: Pressure | undefined;
}

const NS_PER_US = 1000n;
/** A limit from here on is none: v1 writes the largest multiple of a page there, v2 `max`. */
const UNLIMITED = 1n << 62n;

type V1 = Omit<Extract<CgroupStatistics, { version: 1 }>, 'version'>;
type V2 = Omit<Extract<CgroupStatistics, { version: 2 }>, 'version'>;

/** The figures in a shim's answer; undefined when they are of a kind that is not known. */
export function figuresOfMetrics(data: Parameters<typeof unpackAny>[0]): CgroupFigures | undefined {
  const v1 = unpackAny(data, V1Metrics);
  if (v1 !== undefined) return v1Figures(v1 as unknown as V1);
  const v2 = unpackAny(data, V2Metrics);
  return v2 === undefined ? undefined : v2Figures(v2 as unknown as V2);
}

/** The figures of a cgroup that was read here. */
export function figuresOfCgroup(statistics: CgroupStatistics): CgroupFigures {
  return statistics.version === 1 ? v1Figures(statistics) : v2Figures(statistics);
}

function v1Figures({ cpu, memory, pids, memoryOomControl, hugetlb, blkio }: V1): CgroupFigures {
  return {
    cpu: cpu?.usage && {
      usageNs: cpu.usage.total,
      userNs: cpu.usage.user,
      systemNs: cpu.usage.kernel,
      periods: cpu.throttling?.periods ?? 0n,
      throttledPeriods: cpu.throttling?.throttledPeriods ?? 0n,
      throttledNs: cpu.throttling?.throttledTime ?? 0n,
      pressure: undefined,
    },
    memory: memory?.usage && {
      usageBytes: memory.usage.usage,
      maxUsageBytes: memory.usage.max,
      workingSetBytes: atLeast0(memory.usage.usage - memory.totalInactiveFile),
      limitBytes: limitOf(memory.usage.limit),
      rssBytes: memory.totalRss,
      cacheBytes: memory.totalCache,
      mappedFileBytes: memory.totalMappedFile,
      activeFileBytes: memory.totalActiveFile,
      inactiveFileBytes: memory.totalInactiveFile,
      kernelBytes: memory.kernel?.usage ?? 0n,
      pageFaults: memory.totalPgFault,
      majorPageFaults: memory.totalPgMajFault,
      failures: memory.usage.failcnt,
      oomKills: memoryOomControl?.oomKill ?? 0n,
      // What v1 calls swap is memory and swap.
      swapBytes: memory.swap && atLeast0(memory.swap.usage - memory.usage.usage),
      swapLimitBytes: limitOf(memory.swap?.limit),
      pressure: undefined,
    },
    processes: pids?.current,
    processesLimit: pids?.limit === 0n ? undefined : pids?.limit,
    hugePages: hugetlb.map(({ pagesize: size, usage: usageBytes, max: maxUsageBytes }) => ({
      ...{ size, usageBytes, maxUsageBytes },
    })),
    devices: blkio === undefined ? [] : v1Devices(blkio),
    ioPressure: undefined,
  };
}

/** v1 has a line for each device and operation, and sums besides. */
function v1Devices({
  ioServicedRecursive: counts,
  ioServiceBytesRecursive: bytes,
}: NonNullable<V1['blkio']>): DeviceFigures[] {
  const value = (lines: typeof bytes, { major, minor }: (typeof bytes)[number], op: string) =>
    lines.find((line) => line.major === major && line.minor === minor && line.op === op)?.value ??
    0n;
  return bytes
    .filter(({ op }) => op === 'Read')
    .map((line) => ({
      major: line.major,
      minor: line.minor,
      reads: value(counts, line, 'Read'),
      writes: value(counts, line, 'Write'),
      readBytes: line.value,
      writtenBytes: value(bytes, line, 'Write'),
    }));
}

function v2Figures({ cpu, memory, pids, memoryEvents, io, hugetlb }: V2): CgroupFigures {
  return {
    cpu: cpu && {
      usageNs: cpu.usageUsec * NS_PER_US,
      userNs: cpu.userUsec * NS_PER_US,
      systemNs: cpu.systemUsec * NS_PER_US,
      periods: cpu.nrPeriods,
      throttledPeriods: cpu.nrThrottled,
      throttledNs: cpu.throttledUsec * NS_PER_US,
      pressure: pressureOf(cpu.psi),
    },
    memory: memory && {
      usageBytes: memory.usage,
      maxUsageBytes: memory.maxUsage,
      workingSetBytes: atLeast0(memory.usage - memory.inactiveFile),
      limitBytes: limitOf(memory.usageLimit),
      rssBytes: memory.anon,
      cacheBytes: memory.file,
      mappedFileBytes: memory.fileMapped,
      activeFileBytes: memory.activeFile,
      inactiveFileBytes: memory.inactiveFile,
      kernelBytes: memory.kernelStack,
      pageFaults: memory.pgfault,
      majorPageFaults: memory.pgmajfault,
      failures: memoryEvents?.max ?? 0n,
      oomKills: memoryEvents?.oomKill ?? 0n,
      swapBytes: memory.swapUsage,
      swapLimitBytes: limitOf(memory.swapLimit),
      pressure: pressureOf(memory.psi),
    },
    processes: pids?.current,
    processesLimit: limitOf(pids?.limit),
    hugePages: hugetlb.map(({ pagesize: size, current: usageBytes }) => ({
      ...{ size, usageBytes, maxUsageBytes: undefined },
    })),
    devices: (io?.usage ?? []).map(({ major, minor, rios, wios, rbytes, wbytes }) => ({
      ...{ major, minor, reads: rios, writes: wios, readBytes: rbytes, writtenBytes: wbytes },
    })),
    ioPressure: pressureOf(io?.psi),
  };
}

const atLeast0 = (value: bigint): bigint => (value < 0n ? 0n : value);

function limitOf(value: bigint | undefined): bigint | undefined {
  return value === undefined || value >= UNLIMITED ? undefined : value;
}

function pressureOf(psi: Partial<Pressure> | undefined): Pressure | undefined {
  return psi && { some: psi.some, full: psi.full };
}
