import { type CgroupFiles, kernelCgroupFiles } from './cgroup-files.ts';

/** What runc's `events` tells of cgroup v1 besides the statistics that containerd takes. */
export interface V1EventDetails {
  /** Nanoseconds by CPU. */
  readonly perCpuKernel: readonly bigint[];
  readonly perCpuUser: readonly bigint[];
  /** Files of cpuset by their names; numbers are 0 without that controller. */
  readonly cpuset: Readonly<Record<string, bigint | readonly bigint[]>>;
}

const CPUSET_LISTS = ['cpus', 'mems'] as const;

const CPUSET_VALUES = [
  'cpu_exclusive',
  'mem_hardwall',
  'mem_exclusive',
  'memory_migrate',
  'memory_spread_page',
  'memory_spread_slab',
  'memory_pressure',
  'sched_load_balance',
  'sched_relax_domain_level',
] as const;

/** Reads cpuacct.usage_all and cpuset (kernel Documentation/admin-guide/cgroup-v1/{cpuacct,cpusets}.rst). */
export function readV1EventDetails(
  directories: Readonly<Record<string, string>>,
  files: CgroupFiles = kernelCgroupFiles,
): V1EventDetails {
  const read = (controller: string, file: string): string => {
    const directory = directories[controller];
    return (directory && files.tryRead(`${directory}/${file}`)) ?? '';
  };
  const rows = read('cpuacct', 'cpuacct.usage_all')
    .split('\n')
    .map((line) => /^\d+ (\d+) (\d+)$/.exec(line.trim()))
    .filter((row) => row !== null);
  return {
    perCpuUser: rows.map(([, user = '0']) => BigInt(user)),
    perCpuKernel: rows.map(([, , kernel = '0']) => BigInt(kernel)),
    cpuset: cpuset(read),
  };
}

function cpuset(read: (controller: string, file: string) => string): V1EventDetails['cpuset'] {
  const values: Record<string, bigint | readonly bigint[]> = {};
  for (const name of CPUSET_LISTS) {
    const list = parseRanges(read('cpuset', `cpuset.${name}`));
    if (list.length > 0) values[name] = list;
  }
  for (const name of CPUSET_VALUES) {
    const text = read('cpuset', `cpuset.${name}`);
    values[name] = /^-?\d+$/.test(text) ? BigInt(text) : 0n;
  }
  return values;
}

/** `0-2,5` as the numbers. */
function parseRanges(text: string): bigint[] {
  return text.split(',').flatMap((part) => {
    const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(part.trim()) ?? [];
    if (first === undefined || last === undefined) return [];
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) =>
      BigInt(Number(first) + index),
    );
  });
}
