/**
 * Figures of pods and containers under the names of cAdvisor, for a kubelet that serves them as /metrics/cadvisor
 * (KEP-2371).
 */
import type { BigIntStatsFs } from 'node:fs';
import { statfs } from 'node:fs/promises';
import type {
  ContainerMetrics,
  Metric,
  MetricDescriptor,
  PodSandboxMetrics,
} from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import { nowNs } from '../api/time.ts';
import type { CgroupFigures } from './cgroup-figures.ts';
import { DEVICES, LIMITS, PROCESSES } from './cgroup-metrics.ts';
import type { Container } from './container.ts';
import type { Cri } from './cri.ts';
import { counter, type Figure, gauge, seconds, usToNs } from './metric-figure.ts';
import type { InterfaceCounters } from './network-counters.ts';
import { processFigures } from './process-figures.ts';
import type { Sandbox } from './sandbox.ts';
import type { Statistics } from './statistics.ts';

/** Of every metric; more follow for some. */
const LABELS = ['container', 'pod', 'namespace', 'id'] as const;

/** Of a container's cgroups. */
const CGROUP: readonly Figure<CgroupFigures>[] = [
  ...(
    [
      ['container_cpu_usage_seconds_total', 'CPU time used in all', 'usageNs'],
      ['container_cpu_user_seconds_total', 'CPU time used in user mode', 'userNs'],
      ['container_cpu_system_seconds_total', 'CPU time used in the kernel', 'systemNs'],
      [
        'container_cpu_cfs_throttled_seconds_total',
        'Time in which it was held back',
        'throttledNs',
      ],
    ] as const
  ).map(([name, help, key]) => ({
    name,
    help,
    type: counter,
    values: ({ cpu }: CgroupFigures) => [[seconds(cpu?.[key])] as const],
  })),
  {
    name: 'container_cpu_cfs_periods_total',
    help: 'Periods in which a limit to CPU time was in force',
    type: counter,
    values: ({ cpu }) => [[cpu?.periods]],
  },
  {
    name: 'container_cpu_cfs_throttled_periods_total',
    help: 'Periods in which it was held back',
    type: counter,
    values: ({ cpu }) => [[cpu?.throttledPeriods]],
  },
  ...(
    [
      ['container_memory_usage_bytes', 'Memory in use, with what can be had back', 'usageBytes'],
      ['container_memory_max_usage_bytes', 'Most memory that was in use', 'maxUsageBytes'],
      ['container_memory_working_set_bytes', 'Memory that cannot be had back', 'workingSetBytes'],
      ['container_memory_rss', 'Anonymous memory', 'rssBytes'],
      ['container_memory_cache', 'Memory of cached files', 'cacheBytes'],
      ['container_memory_mapped_file', 'Memory of mapped files', 'mappedFileBytes'],
      ['container_memory_kernel_usage', 'Memory of the kernel for it', 'kernelBytes'],
      ['container_memory_swap', 'Memory that is swapped out', 'swapBytes'],
      [
        'container_memory_total_active_file_bytes',
        'Memory of files that were used of late',
        'activeFileBytes',
      ],
      [
        'container_memory_total_inactive_file_bytes',
        'Memory of files that were not used of late',
        'inactiveFileBytes',
      ],
      ['container_spec_memory_limit_bytes', 'Limit to its memory; none is 0', 'limitBytes'],
    ] as const
  ).map(([name, help, key]) => ({
    name,
    help,
    type: gauge,
    values: ({ memory }: CgroupFigures) => [[memory && (memory[key] ?? 0n)] as const],
  })),
  {
    name: 'container_memory_failcnt',
    help: 'How often the limit to its memory was met',
    type: counter,
    values: ({ memory }) => [[memory?.failures]],
  },
  {
    name: 'container_memory_failures_total',
    help: 'Page faults',
    type: counter,
    labels: ['failure_type', 'scope'],
    values: ({ memory }) => [
      [memory?.pageFaults, 'pgfault', 'container'],
      [memory?.majorPageFaults, 'pgmajfault', 'container'],
    ],
  },
  {
    name: 'container_oom_events_total',
    help: 'Processes that were killed for want of memory',
    type: counter,
    values: ({ memory }) => [[memory?.oomKills]],
  },
  {
    name: 'container_processes',
    help: 'Processes and threads',
    type: gauge,
    values: ({ processes }) => [[processes]],
  },
  {
    name: 'container_threads_max',
    help: 'Limit to processes and threads; none is 0',
    type: gauge,
    values: ({ processes, processesLimit }) => [[processes && (processesLimit ?? 0n)]],
  },
  ...(
    [
      ['cpu', ({ cpu }: CgroupFigures) => cpu?.pressure],
      ['memory', ({ memory }: CgroupFigures) => memory?.pressure],
      ['io', ({ ioPressure }: CgroupFigures) => ioPressure],
    ] as const
  ).flatMap(([what, pressure]) =>
    (
      [
        ['waiting', 'some', 'one'],
        ['stalled', 'full', 'all'],
      ] as const
    ).map(([word, key, who]) => ({
      name: `container_pressure_${what}_${word}_seconds_total`,
      help: `Time in which ${who} of its tasks waited for ${what}`,
      type: counter,
      values: (of: CgroupFigures) => [[seconds(usToNs(pressure(of)?.[key]?.total))] as const],
    })),
  ),
];

interface ContainerFigures {
  readonly fileBytes: bigint;
  /** The file system of its writable layer. */
  readonly fileSystem: BigIntStatsFs;
  readonly startedNs: bigint;
}

/** Of a container besides its cgroups. */
const CONTAINER: readonly Figure<ContainerFigures>[] = [
  {
    name: 'container_fs_usage_bytes',
    help: 'What its writable layer takes',
    type: gauge,
    labels: ['device'],
    values: ({ fileBytes }) => [[fileBytes, '']],
  },
  {
    name: 'container_fs_limit_bytes',
    help: 'Size of the file system of its writable layer',
    type: gauge,
    labels: ['device'],
    values: ({ fileSystem: { blocks, bsize } }) => [[blocks * bsize, '']],
  },
  {
    name: 'container_fs_inodes_total',
    help: 'Inodes of that file system; 0 where they are made as they are needed',
    type: gauge,
    labels: ['device'],
    values: ({ fileSystem }) => [[fileSystem.files, '']],
  },
  {
    name: 'container_fs_inodes_free',
    help: 'Free inodes of that file system',
    type: gauge,
    labels: ['device'],
    values: ({ fileSystem }) => [[fileSystem.ffree, '']],
  },
  {
    name: 'container_start_time_seconds',
    help: 'When it was started, in seconds since the epoch',
    type: gauge,
    values: ({ startedNs }) => [[seconds(startedNs)]],
  },
  {
    name: 'container_last_seen',
    help: 'When this was looked at, in seconds since the epoch',
    type: gauge,
    values: () => [[seconds(nowNs())]],
  },
];

/** Of a pod's network, by interface. */
const NETWORK: readonly Figure<readonly InterfaceCounters[]>[] = (
  [
    ['receive_bytes', 'Bytes received', 'rxBytes'],
    ['receive_packets', 'Packets received', 'rxPackets'],
    ['receive_packets_dropped', 'Packets dropped on receipt', 'rxDropped'],
    ['receive_errors', 'Errors on receipt', 'rxErrors'],
    ['transmit_bytes', 'Bytes sent', 'txBytes'],
    ['transmit_packets', 'Packets sent', 'txPackets'],
    ['transmit_packets_dropped', 'Packets dropped when sent', 'txDropped'],
    ['transmit_errors', 'Errors when sent', 'txErrors'],
  ] as const
).map(([name, help, key]) => ({
  name: `container_network_${name}_total`,
  help,
  type: counter,
  labels: ['interface'],
  values: (interfaces) => interfaces.map((one) => [one[key], one.name] as const),
}));

/** What there is, with the keys of the labels. */
export function metricDescriptors(): Init<MetricDescriptor>[] {
  return [...CGROUP, ...DEVICES, ...PROCESSES, ...LIMITS, ...CONTAINER, ...NETWORK].map(
    ({ name, help, labels = [] }) => ({
      name,
      help,
      labelKeys: [...LABELS, ...labels],
    }),
  );
}

/** The metrics of all pods that are ready. */
export async function podMetrics(
  cri: Cri,
  statistics: Statistics,
): Promise<Init<PodSandboxMetrics>[]> {
  const pods = cri.sandboxes.list().filter((sandbox) => sandbox.isReady);
  return await Promise.all(
    pods.map(async (sandbox) => {
      const containers = cri.containers.of(sandbox).filter((one) => one.isRunning);
      const figures = await statistics.figures(containers.map(({ id }) => id));
      return {
        podSandboxId: sandbox.id,
        // The pod as a whole stands for its network alone; cAdvisor's name of its container is POD.
        metrics: metricsOf(NETWORK, statistics.interfaces(sandbox), labelsOf(sandbox, undefined)),
        containerMetrics: await Promise.all(
          containers.map((one) => containerMetrics(one, sandbox, figures.get(one.id), statistics)),
        ),
      };
    }),
  );
}

async function containerMetrics(
  container: Container,
  sandbox: Sandbox,
  figures: CgroupFigures | undefined,
  statistics: Statistics,
): Promise<Init<ContainerMetrics>> {
  const labels = labelsOf(sandbox, container);
  const { usedBytes, fsId } = await statistics.writableLayer(container);
  const processes = await processFigures(await statistics.pids(container));
  const own = {
    fileBytes: usedBytes?.value ?? 0n,
    fileSystem: await statfs(fsId?.mountpoint ?? '/', { bigint: true }),
    startedNs: container.state.startedAt,
  };
  return {
    containerId: container.id,
    metrics: [
      ...(figures === undefined ? [] : metricsOf([...CGROUP, ...DEVICES], figures, labels)),
      ...metricsOf(PROCESSES, processes, labels),
      ...metricsOf(LIMITS, container.config.linux?.resources ?? {}, labels),
      ...metricsOf(CONTAINER, own, labels),
    ],
  };
}

function labelsOf(sandbox: Sandbox, container: Container | undefined): string[] {
  const { name = '', namespace = '' } = sandbox.config.metadata ?? {};
  const of = container === undefined ? 'POD' : (container.config.metadata?.name ?? '');
  return [of, name, namespace, (container ?? sandbox).id];
}

function metricsOf<T>(
  figures: readonly Figure<T>[],
  of: T,
  labels: readonly string[],
): Init<Metric>[] {
  const timestamp = nowNs();
  return figures.flatMap(({ name, type: metricType, values }) =>
    values(of).flatMap(([value, ...more]) =>
      value === undefined
        ? []
        : [{ name, timestamp, metricType, labelValues: [...labels, ...more], value: { value } }],
    ),
  );
}
