import type { CgroupFiles } from './cgroup-files.ts';
import type {
  CgroupStatisticsV2,
  HugetlbStatV2,
  IoEntry,
  MemoryEvents,
  MemoryStatV2,
} from './statistics.ts';
import {
  hugepageSizeName,
  parseCount,
  parseFlatKeyed,
  parseNestedKeyed,
  parsePressure,
  parseRdma,
} from './statistics-text.ts';

/** Reads what the controllers of cgroup v2 count (kernel Documentation/admin-guide/cgroup-v2.rst). */
export function readV2Statistics(files: CgroupFiles, directory: string): CgroupStatisticsV2 {
  const read = (file: string): string | undefined => files.tryRead(`${directory}/${file}`);
  const statistics: CgroupStatisticsV2 = { hugetlb: hugetlb(files, read) };
  const pids = read('pids.current');
  if (pids !== undefined) {
    statistics.pids = { current: parseCount(pids), limit: parseCount(read('pids.max')) };
  }
  const cpu = read('cpu.stat');
  if (cpu !== undefined) {
    const counts = parseFlatKeyed(cpu);
    statistics.cpu = {
      usageUsec: counts['usage_usec'] ?? 0n,
      userUsec: counts['user_usec'] ?? 0n,
      systemUsec: counts['system_usec'] ?? 0n,
      nrPeriods: counts['nr_periods'] ?? 0n,
      nrThrottled: counts['nr_throttled'] ?? 0n,
      throttledUsec: counts['throttled_usec'] ?? 0n,
      nrBursts: counts['nr_bursts'] ?? 0n,
      burstUsec: counts['burst_usec'] ?? 0n,
      ...pressureOf(read('cpu.pressure')),
    };
  }
  const memoryStat = read('memory.stat');
  if (memoryStat !== undefined) statistics.memory = memory(memoryStat, read);
  const events = read('memory.events');
  if (events !== undefined) statistics.memoryEvents = parseMemoryEvents(events);
  const io = read('io.stat');
  if (io !== undefined) {
    statistics.io = { usage: parseIoStat(io), ...pressureOf(read('io.pressure')) };
  }
  const rdma = read('rdma.current');
  if (rdma !== undefined) {
    statistics.rdma = { current: parseRdma(rdma), limit: parseRdma(read('rdma.max')) };
  }
  return statistics;
}

type Read = (file: string) => string | undefined;

function pressureOf(text: string | undefined) {
  const psi = parsePressure(text);
  return psi === undefined ? {} : { psi };
}

function memory(stat: string, read: Read): MemoryStatV2 {
  const raw = parseFlatKeyed(stat);
  const of = (name: string): bigint => raw[name] ?? 0n;
  return {
    anon: of('anon'),
    file: of('file'),
    kernelStack: of('kernel_stack'),
    slab: of('slab'),
    sock: of('sock'),
    shmem: of('shmem'),
    fileMapped: of('file_mapped'),
    fileDirty: of('file_dirty'),
    fileWriteback: of('file_writeback'),
    anonThp: of('anon_thp'),
    inactiveAnon: of('inactive_anon'),
    activeAnon: of('active_anon'),
    inactiveFile: of('inactive_file'),
    activeFile: of('active_file'),
    unevictable: of('unevictable'),
    slabReclaimable: of('slab_reclaimable'),
    slabUnreclaimable: of('slab_unreclaimable'),
    pgfault: of('pgfault'),
    pgmajfault: of('pgmajfault'),
    // Since Linux 5.9 these two are counted for anonymous memory and files apart.
    workingsetRefault:
      of('workingset_refault') + of('workingset_refault_anon') + of('workingset_refault_file'),
    workingsetActivate:
      of('workingset_activate') + of('workingset_activate_anon') + of('workingset_activate_file'),
    workingsetNodereclaim: of('workingset_nodereclaim'),
    pgrefill: of('pgrefill'),
    pgscan: of('pgscan'),
    pgsteal: of('pgsteal'),
    pgactivate: of('pgactivate'),
    pgdeactivate: of('pgdeactivate'),
    pglazyfree: of('pglazyfree'),
    pglazyfreed: of('pglazyfreed'),
    thpFaultAlloc: of('thp_fault_alloc'),
    thpCollapseAlloc: of('thp_collapse_alloc'),
    usage: parseCount(read('memory.current')),
    usageLimit: parseCount(read('memory.max')),
    swapUsage: parseCount(read('memory.swap.current')),
    swapLimit: parseCount(read('memory.swap.max')),
    maxUsage: parseCount(read('memory.peak')), // since Linux 5.19
    swapMaxUsage: parseCount(read('memory.swap.peak')), // since Linux 6.5
    ...pressureOf(read('memory.pressure')),
    raw,
  };
}

export function parseMemoryEvents(text: string): MemoryEvents {
  const counts = parseFlatKeyed(text);
  return {
    low: counts['low'] ?? 0n,
    high: counts['high'] ?? 0n,
    max: counts['max'] ?? 0n,
    oom: counts['oom'] ?? 0n,
    oomKill: counts['oom_kill'] ?? 0n,
    oomGroupKill: counts['oom_group_kill'] ?? 0n,
  };
}

/** Lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`. */
export function parseIoStat(text: string): IoEntry[] {
  const entries: IoEntry[] = [];
  for (const [device, values] of parseNestedKeyed(text)) {
    const [, major, minor] = /^([0-9]+):([0-9]+)$/.exec(device) ?? [];
    if (major === undefined || minor === undefined) continue;
    entries.push({
      major: BigInt(major),
      minor: BigInt(minor),
      rbytes: parseCount(values['rbytes']),
      wbytes: parseCount(values['wbytes']),
      rios: parseCount(values['rios']),
      wios: parseCount(values['wios']),
    });
  }
  return entries;
}

function hugetlb(files: CgroupFiles, read: Read): HugetlbStatV2[] {
  const statistics: HugetlbStatV2[] = [];
  for (const directory of files.subdirectories('/sys/kernel/mm/hugepages')) {
    const pagesize = hugepageSizeName(directory);
    const current = read(`hugetlb.${pagesize}.current`);
    if (pagesize === undefined || current === undefined) continue;
    statistics.push({
      pagesize,
      current: parseCount(current),
      max: parseCount(read(`hugetlb.${pagesize}.max`)),
      failcnt: parseFlatKeyed(read(`hugetlb.${pagesize}.events`))['max'] ?? 0n,
    });
  }
  return statistics;
}
