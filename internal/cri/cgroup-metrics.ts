// Metrics of a container besides processor and memory: its devices, processes and limits.

import { readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { LinuxContainerResources } from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import { isErrno } from '../errors/index.ts';
import type { CgroupFigures, DeviceFigures } from './cgroup-figures.ts';
import { counter, type Figure, gauge } from './metric-figure.ts';
import { type ProcessFigures, TASK_STATES } from './process-figures.ts';

export const DEVICES: readonly Figure<CgroupFigures>[] = [
  ...(
    [
      ['reads_total', 'Reads', 'reads'],
      ['reads_bytes_total', 'Bytes read', 'readBytes'],
      ['writes_total', 'Writes', 'writes'],
      ['writes_bytes_total', 'Bytes written', 'writtenBytes'],
    ] as const
  ).map(([name, help, key]) => ({
    name: `container_fs_${name}`,
    help: `${help} of a block device`,
    type: counter,
    labels: ['device'],
    values: ({ devices }: CgroupFigures) =>
      devices.map((device) => [device[key], pathOf(device)] as const),
  })),
  {
    name: 'container_blkio_device_usage_total',
    help: 'Bytes read of and written to a block device',
    type: counter,
    labels: ['device', 'major', 'minor', 'operation'],
    values: ({ devices }) =>
      devices.flatMap((device) => {
        const labels = [pathOf(device), `${device.major}`, `${device.minor}`] as const;
        return [
          [device.readBytes, ...labels, 'Read'] as const,
          [device.writtenBytes, ...labels, 'Write'] as const,
        ];
      }),
  },
  ...(
    [
      ['usage_bytes', 'Huge pages in use', 'usageBytes'],
      ['max_usage_bytes', 'Most huge pages that were in use', 'maxUsageBytes'],
    ] as const
  ).map(([name, help, key]) => ({
    name: `container_hugetlb_${name}`,
    help,
    type: gauge,
    labels: ['pagesize'],
    values: ({ hugePages }: CgroupFigures) =>
      hugePages.map((pages) => [pages[key], pages.size] as const),
  })),
];

/** The path of a block device, as far as the kernel has a name for it (man 5 sysfs, /sys/dev). */
function pathOf({ major, minor }: DeviceFigures): string {
  try {
    return `/dev/${basename(readlinkSync(`/sys/dev/block/${major}:${minor}`))}`;
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT')) return ''; // it was taken out
    throw thrown;
  }
}

export const PROCESSES: readonly Figure<ProcessFigures>[] = [
  {
    name: 'container_tasks_state',
    help: 'Tasks in a state',
    type: gauge,
    labels: ['state'],
    values: ({ states }) => TASK_STATES.map((state) => [states[state], state]),
  },
  ...(
    [
      ['container_threads', 'Threads', 'threads'],
      ['container_file_descriptors', 'Open files', 'descriptors'],
      ['container_sockets', 'Open sockets', 'sockets'],
    ] as const
  ).map(([name, help, key]) => ({
    name,
    help,
    type: gauge,
    values: (processes: ProcessFigures) => [[processes[key]] as const],
  })),
  {
    name: 'container_ulimits_soft',
    help: 'Soft limit of its first process',
    type: gauge,
    labels: ['ulimit'],
    values: ({ openFilesLimit }) => [[openFilesLimit, 'max_open_files']],
  },
];

type Resources = Init<LinuxContainerResources>;

/** What the request for the container, or the last update, has limited; 0 is no limit. */
export const LIMITS: readonly Figure<Resources>[] = (
  [
    ['cpu_period', 'Period of the limit to its CPU time, in microseconds', (of) => of.cpuPeriod],
    ['cpu_quota', 'CPU time in a period, in microseconds', (of) => of.cpuQuota],
    ['cpu_shares', 'Share of CPU time', (of) => of.cpuShares],
    [
      'memory_reservation_limit_bytes',
      'Memory that is left to it when there is little',
      (of) => wholeNumber(new Map(of.unified).get('memory.low')),
    ],
    ['memory_swap_limit_bytes', 'Limit to its memory and swap', (of) => of.memorySwapLimitInBytes],
  ] as const satisfies [string, string, (of: Resources) => bigint | undefined][]
).map(([name, help, limit]) => ({
  name: `container_spec_${name}`,
  help,
  type: gauge,
  values: (of) => [[limit(of) ?? 0n]],
}));

const wholeNumber = (text = ''): bigint | undefined =>
  /^\d+$/.test(text) ? BigInt(text) : undefined;
