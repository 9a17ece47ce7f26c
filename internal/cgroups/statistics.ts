/**
 * What the kernel counts for a cgroup. Names and units are those of containerd's metrics messages
 * (packages io.containerd.cgroups.v1 and .v2), so that a value can be encoded as it is. A part is
 * absent when its controller is.
 */
export type CgroupStatistics =
  | ({ readonly version: 1 } & CgroupStatisticsV1)
  | ({ readonly version: 2 } & CgroupStatisticsV2);

/** Times are nanoseconds, sizes bytes. */
export interface CgroupStatisticsV1 {
  hugetlb: HugetlbStatV1[];
  pids?: PidsStat;
  cpu?: CpuStatV1;
  /** Counters of memory.stat and the usage files. */
  memory?: MemoryStatV1;
  blkio?: BlkioStat;
  rdma?: RdmaStat;
  memoryOomControl?: MemoryOomControl;
}

export interface HugetlbStatV1 {
  usage: bigint;
  max: bigint;
  failcnt: bigint;
  pagesize: string;
}

export interface PidsStat {
  current: bigint;
  /** When unlimited, 0 on v1 and 2^64-1 on v2. */
  limit: bigint;
}

export interface CpuStatV1 {
  usage: { total: bigint; kernel: bigint; user: bigint; perCpu: bigint[] };
  throttling: { periods: bigint; throttledPeriods: bigint; throttledTime: bigint };
}

export interface MemoryStatV1 {
  cache: bigint;
  rss: bigint;
  rssHuge: bigint;
  mappedFile: bigint;
  dirty: bigint;
  writeback: bigint;
  pgPgIn: bigint;
  pgPgOut: bigint;
  pgFault: bigint;
  pgMajFault: bigint;
  inactiveAnon: bigint;
  activeAnon: bigint;
  inactiveFile: bigint;
  activeFile: bigint;
  unevictable: bigint;
  hierarchicalMemoryLimit: bigint;
  hierarchicalSwapLimit: bigint;
  totalCache: bigint;
  totalRss: bigint;
  totalRssHuge: bigint;
  totalMappedFile: bigint;
  totalDirty: bigint;
  totalWriteback: bigint;
  totalPgPgIn: bigint;
  totalPgPgOut: bigint;
  totalPgFault: bigint;
  totalPgMajFault: bigint;
  totalInactiveAnon: bigint;
  totalActiveAnon: bigint;
  totalInactiveFile: bigint;
  totalActiveFile: bigint;
  totalUnevictable: bigint;
  usage: MemoryEntry;
  swap?: MemoryEntry;
  kernel?: MemoryEntry;
  kernelTcp?: MemoryEntry;
  /** Every line of memory.stat by its kernel name (`events --stats` prints them). */
  raw: Readonly<Record<string, bigint>>;
}

export interface MemoryEntry {
  limit: bigint;
  usage: bigint;
  max: bigint;
  failcnt: bigint;
}

export interface MemoryOomControl {
  oomKillDisable: bigint;
  underOom: bigint;
  oomKill: bigint;
}

export interface BlkioStat {
  ioServiceBytesRecursive: BlkioEntry[];
  ioServicedRecursive: BlkioEntry[];
  ioQueuedRecursive: BlkioEntry[];
  ioServiceTimeRecursive: BlkioEntry[];
  ioWaitTimeRecursive: BlkioEntry[];
  ioMergedRecursive: BlkioEntry[];
  ioTimeRecursive: BlkioEntry[];
  sectorsRecursive: BlkioEntry[];
}

export interface BlkioEntry {
  op: string;
  /** `/dev/NAME` if known, else empty. */
  device: string;
  major: bigint;
  minor: bigint;
  value: bigint;
}

export interface RdmaStat {
  current: RdmaEntry[];
  limit: RdmaEntry[];
}

export interface RdmaEntry {
  device: string;
  /** 2^32-1 when unlimited. */
  hcaHandles: number;
  hcaObjects: number;
}

/** Times are microseconds, sizes bytes; 2^64-1 is unlimited. */
export interface CgroupStatisticsV2 {
  pids?: PidsStat;
  cpu?: CpuStatV2;
  memory?: MemoryStatV2;
  rdma?: RdmaStat;
  io?: IoStat;
  hugetlb: HugetlbStatV2[];
  memoryEvents?: MemoryEvents;
}

export interface CpuStatV2 {
  usageUsec: bigint;
  userUsec: bigint;
  systemUsec: bigint;
  nrPeriods: bigint;
  nrThrottled: bigint;
  throttledUsec: bigint;
  nrBursts: bigint;
  burstUsec: bigint;
  psi?: PsiStats;
}

export interface MemoryStatV2 {
  anon: bigint;
  file: bigint;
  kernelStack: bigint;
  slab: bigint;
  sock: bigint;
  shmem: bigint;
  fileMapped: bigint;
  fileDirty: bigint;
  fileWriteback: bigint;
  anonThp: bigint;
  inactiveAnon: bigint;
  activeAnon: bigint;
  inactiveFile: bigint;
  activeFile: bigint;
  unevictable: bigint;
  slabReclaimable: bigint;
  slabUnreclaimable: bigint;
  pgfault: bigint;
  pgmajfault: bigint;
  workingsetRefault: bigint;
  workingsetActivate: bigint;
  workingsetNodereclaim: bigint;
  pgrefill: bigint;
  pgscan: bigint;
  pgsteal: bigint;
  pgactivate: bigint;
  pgdeactivate: bigint;
  pglazyfree: bigint;
  pglazyfreed: bigint;
  thpFaultAlloc: bigint;
  thpCollapseAlloc: bigint;
  usage: bigint;
  usageLimit: bigint;
  swapUsage: bigint;
  swapLimit: bigint;
  maxUsage: bigint;
  swapMaxUsage: bigint;
  psi?: PsiStats;
  /** Every line of memory.stat by its kernel name (`events --stats` prints them). */
  raw: Readonly<Record<string, bigint>>;
}

export interface MemoryEvents {
  low: bigint;
  high: bigint;
  max: bigint;
  oom: bigint;
  oomKill: bigint;
  oomGroupKill: bigint;
}

export interface IoStat {
  usage: IoEntry[];
  psi?: PsiStats;
}

export interface IoEntry {
  major: bigint;
  minor: bigint;
  rbytes: bigint;
  wbytes: bigint;
  rios: bigint;
  wios: bigint;
}

export interface HugetlbStatV2 {
  current: bigint;
  max: bigint;
  pagesize: string;
  failcnt: bigint;
}

/** Pressure stall information; percentages and microseconds (kernel Documentation/accounting/psi.rst). */
export interface PsiStats {
  some: PsiData;
  full: PsiData;
}

export interface PsiData {
  avg10: number;
  avg60: number;
  avg300: number;
  total: bigint;
}
