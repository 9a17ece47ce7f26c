import type { CgroupFiles } from './cgroup-files.ts';
import type {
  BlkioEntry,
  BlkioStat,
  CgroupStatisticsV1,
  CpuStatV1,
  HugetlbStatV1,
  MemoryEntry,
  MemoryOomControl,
  MemoryStatV1,
} from './statistics.ts';
import { hugepageSizeName, parseCount, parseFlatKeyed, parseRdma } from './statistics-text.ts';

/** cpuacct.stat counts in USER_HZ, which the kernel fixes at 100 a second for all architectures here. */
const NANOSECONDS_PER_TICK = 10000000n;

/** Reads what the controllers of cgroup v1 count (kernel Documentation/admin-guide/cgroup-v1). */
export function readV1Statistics(
  files: CgroupFiles,
  directories: Readonly<Record<string, string>>,
): CgroupStatisticsV1 {
  const read = (controller: string, file: string): string | undefined => {
    const directory = directories[controller];
    return directory === undefined ? undefined : files.tryRead(`${directory}/${file}`);
  };
  const statistics: CgroupStatisticsV1 = { hugetlb: hugetlb(files, read) };
  const current = read('pids', 'pids.current');
  if (current !== undefined) {
    const limit = read('pids', 'pids.max');
    statistics.pids = {
      current: parseCount(current),
      limit: limit === 'max' ? 0n : parseCount(limit),
    };
  }
  const total = read('cpuacct', 'cpuacct.usage');
  const cpuStat = read('cpu', 'cpu.stat');
  if (total !== undefined || cpuStat !== undefined) statistics.cpu = cpu(total, cpuStat, read);
  const memoryStat = read('memory', 'memory.stat');
  if (memoryStat !== undefined) statistics.memory = memory(memoryStat, read);
  const oomControl = read('memory', 'memory.oom_control');
  if (oomControl !== undefined) statistics.memoryOomControl = parseOomControl(oomControl);
  if (directories['blkio'] !== undefined) statistics.blkio = blkio(files, read);
  const rdma = read('rdma', 'rdma.current');
  if (rdma !== undefined) {
    statistics.rdma = { current: parseRdma(rdma), limit: parseRdma(read('rdma', 'rdma.max')) };
  }
  return statistics;
}

type Read = (controller: string, file: string) => string | undefined;

function cpu(total: string | undefined, cpuStat: string | undefined, read: Read): CpuStatV1 {
  const ticks = parseFlatKeyed(read('cpuacct', 'cpuacct.stat'));
  const throttling = parseFlatKeyed(cpuStat);
  const perCpu = read('cpuacct', 'cpuacct.usage_percpu') ?? '';
  return {
    usage: {
      total: parseCount(total),
      kernel: (ticks['system'] ?? 0n) * NANOSECONDS_PER_TICK,
      user: (ticks['user'] ?? 0n) * NANOSECONDS_PER_TICK,
      perCpu: perCpu.split(' ').filter(Boolean).map(parseCount),
    },
    throttling: {
      periods: throttling['nr_periods'] ?? 0n,
      throttledPeriods: throttling['nr_throttled'] ?? 0n,
      throttledTime: throttling['throttled_time'] ?? 0n,
    },
  };
}

function memory(stat: string, read: Read): MemoryStatV1 {
  const raw = parseFlatKeyed(stat);
  const of = (name: string): bigint => raw[name] ?? 0n;
  const entry = (prefix: string): MemoryEntry | undefined => {
    const usage = read('memory', `${prefix}.usage_in_bytes`);
    if (usage === undefined) return undefined;
    return {
      usage: parseCount(usage),
      max: parseCount(read('memory', `${prefix}.max_usage_in_bytes`)),
      limit: parseCount(read('memory', `${prefix}.limit_in_bytes`)),
      failcnt: parseCount(read('memory', `${prefix}.failcnt`)),
    };
  };
  const swap = entry('memory.memsw');
  const kernel = entry('memory.kmem');
  const kernelTcp = entry('memory.kmem.tcp');
  return {
    cache: of('cache'),
    rss: of('rss'),
    rssHuge: of('rss_huge'),
    mappedFile: of('mapped_file'),
    dirty: of('dirty'),
    writeback: of('writeback'),
    pgPgIn: of('pgpgin'),
    pgPgOut: of('pgpgout'),
    pgFault: of('pgfault'),
    pgMajFault: of('pgmajfault'),
    inactiveAnon: of('inactive_anon'),
    activeAnon: of('active_anon'),
    inactiveFile: of('inactive_file'),
    activeFile: of('active_file'),
    unevictable: of('unevictable'),
    hierarchicalMemoryLimit: of('hierarchical_memory_limit'),
    hierarchicalSwapLimit: of('hierarchical_memsw_limit'),
    totalCache: of('total_cache'),
    totalRss: of('total_rss'),
    totalRssHuge: of('total_rss_huge'),
    totalMappedFile: of('total_mapped_file'),
    totalDirty: of('total_dirty'),
    totalWriteback: of('total_writeback'),
    totalPgPgIn: of('total_pgpgin'),
    totalPgPgOut: of('total_pgpgout'),
    totalPgFault: of('total_pgfault'),
    totalPgMajFault: of('total_pgmajfault'),
    totalInactiveAnon: of('total_inactive_anon'),
    totalActiveAnon: of('total_active_anon'),
    totalInactiveFile: of('total_inactive_file'),
    totalActiveFile: of('total_active_file'),
    totalUnevictable: of('total_unevictable'),
    usage: entry('memory') ?? { usage: 0n, max: 0n, limit: 0n, failcnt: 0n },
    ...(swap === undefined ? {} : { swap }),
    ...(kernel === undefined ? {} : { kernel }),
    ...(kernelTcp === undefined ? {} : { kernelTcp }),
    raw,
  };
}

/** memory.oom_control; `oom_kill` is there since Linux 4.13. */
export function parseOomControl(text: string): MemoryOomControl {
  const counts = parseFlatKeyed(text);
  return {
    oomKillDisable: counts['oom_kill_disable'] ?? 0n,
    underOom: counts['under_oom'] ?? 0n,
    oomKill: counts['oom_kill'] ?? 0n,
  };
}

/** Which file feeds which list: BFQ's or CFQ's if they count anything, else those of throttling. */
const BLKIO_FILES = [
  ['ioServiceBytesRecursive', 'io_service_bytes_recursive'],
  ['ioServicedRecursive', 'io_serviced_recursive'],
  ['ioQueuedRecursive', 'io_queued_recursive'],
  ['ioServiceTimeRecursive', 'io_service_time_recursive'],
  ['ioWaitTimeRecursive', 'io_wait_time_recursive'],
  ['ioMergedRecursive', 'io_merged_recursive'],
  ['ioTimeRecursive', 'time_recursive'],
  ['sectorsRecursive', 'sectors_recursive'],
] as const;

function blkio(files: CgroupFiles, read: Read): BlkioStat {
  const devices = new Map<string, string>();
  const list = (file: string): BlkioEntry[] =>
    parseBlkio(read('blkio', file)).map((entry) => ({
      ...entry,
      device: deviceName(files, devices, `${entry.major}:${entry.minor}`),
    }));
  const statistics: BlkioStat = {
    ioServiceBytesRecursive: [],
    ioServicedRecursive: [],
    ioQueuedRecursive: [],
    ioServiceTimeRecursive: [],
    ioWaitTimeRecursive: [],
    ioMergedRecursive: [],
    ioTimeRecursive: [],
    sectorsRecursive: [],
  };
  for (const [name, file] of BLKIO_FILES) {
    for (const scheduler of ['blkio.bfq', 'blkio', 'blkio.throttle']) {
      statistics[name] = list(`${scheduler}.${file}`);
      if (statistics[name].length > 0) break;
    }
  }
  return statistics;
}

/** Lines `8:0 Read 4096`, `8:0 42`, and `Total 4096`, which is left out. */
export function parseBlkio(text: string | undefined): BlkioEntry[] {
  const entries: BlkioEntry[] = [];
  for (const line of text?.split('\n') ?? []) {
    const [, major, minor, op, value] =
      /^([0-9]+):([0-9]+)(?: ([A-Za-z]+))? ([0-9]+)$/.exec(line) ?? [];
    if (major === undefined || minor === undefined || value === undefined) continue;
    entries.push({
      major: BigInt(major),
      minor: BigInt(minor),
      op: op ?? '',
      device: '',
      value: BigInt(value),
    });
  }
  return entries;
}

/** `/dev/sda` of `8:0`; empty if the device is gone. */
function deviceName(files: CgroupFiles, known: Map<string, string>, number: string): string {
  const name = known.get(number);
  if (name !== undefined) return name;
  const uevent = files.tryRead(`/sys/dev/block/${number}/uevent`) ?? '';
  const found = /^DEVNAME=(.+)$/m.exec(uevent)?.[1];
  const path = found === undefined ? '' : `/dev/${found}`;
  known.set(number, path);
  return path;
}

function hugetlb(files: CgroupFiles, read: Read): HugetlbStatV1[] {
  const statistics: HugetlbStatV1[] = [];
  for (const directory of files.subdirectories('/sys/kernel/mm/hugepages')) {
    const pagesize = hugepageSizeName(directory);
    const usage = read('hugetlb', `hugetlb.${pagesize}.usage_in_bytes`);
    if (pagesize === undefined || usage === undefined) continue;
    statistics.push({
      pagesize,
      usage: parseCount(usage),
      max: parseCount(read('hugetlb', `hugetlb.${pagesize}.max_usage_in_bytes`)),
      failcnt: parseCount(read('hugetlb', `hugetlb.${pagesize}.failcnt`)),
    });
  }
  return statistics;
}
