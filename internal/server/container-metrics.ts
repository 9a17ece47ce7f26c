/**
 * Figures of running containers under the names that containerd's cgroup monitor gives them
 * (containerd core/metrics/cgroups), and how many there are.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { unpackAny } from '../api/any.ts';
import { Metrics as V1Metrics } from '../api/generated/io.containerd.cgroups.v1.ts';
import { Metrics as V2Metrics } from '../api/generated/io.containerd.cgroups.v2.ts';
import type { ContainerStore } from '../metadata/container-store.ts';
import type { NamespaceStore } from '../metadata/namespace-store.ts';
import type { Labels, Metric, MetricRegistry, Series } from '../metrics/index.ts';
import type { Task, TaskManager } from '../tasks/task-manager.ts';
import { gauge } from './process-metrics.ts';

export interface ContainerMetricsOptions {
  readonly namespaces: NamespaceStore;
  readonly containers: ContainerStore;
  readonly tasks: TaskManager;
  /** How long a shim may take to answer; what it did not tell by then is missing. */
  readonly timeoutMs: number;
  /** Whether the figures of each container are wanted. */
  readonly hasEach: boolean;
}

type Figure = readonly [name: string, help: string, value: bigint | number | undefined];

/** Adds the metrics of containers to the registry. */
export function addContainerMetrics(
  registry: MetricRegistry,
  options: ContainerMetricsOptions,
): void {
  registry.collect(async () => {
    const scopes = options.namespaces
      .list()
      .map(({ name }) => ({ namespace: name, lease: undefined }));
    const containers = scopes.reduce(
      (sum, scope) => sum + options.containers.list(scope, []).length,
      0,
    );
    const tasks = (await Promise.all(scopes.map((scope) => options.tasks.list(scope)))).flat();
    return [
      gauge('containerd_container_count', 'Number of containers in all namespaces.', containers),
      gauge('containerd_task_count', 'Number of tasks in all namespaces.', tasks.length),
      ...(options.hasEach ? await figuresOf(tasks, options.timeoutMs) : []),
    ];
  });
}

async function figuresOf(tasks: readonly Task[], timeoutMs: number): Promise<Metric[]> {
  const all = await Promise.all(tasks.map((task) => measure(task, timeoutMs)));
  const metrics = new Map<string, { help: string; series: Series[] }>();
  for (const { labels, figures } of all) {
    for (const [name, help, value] of figures) {
      if (value === undefined) continue;
      const metric = metrics.get(name) ?? { help, series: [] };
      metric.series.push({ labels, value: Number(value) });
      metrics.set(name, metric);
    }
  }
  return [...metrics].map(([name, { help, series }]) => ({
    name,
    help,
    type: 'gauge',
    series: () => series,
  }));
}

async function measure(
  task: Task,
  timeoutMs: number,
): Promise<{ labels: Labels; figures: readonly Figure[] }> {
  const labels = {
    container_id: task.id,
    namespace: task.namespace,
    runtime: task.runtime,
  };
  try {
    const stats = await Promise.race([task.stats(), delay(timeoutMs, undefined, { ref: false })]);
    const v2 = unpackAny(stats, V2Metrics);
    if (v2 !== undefined) return { labels, figures: v2Figures(v2) };
    const v1 = unpackAny(stats, V1Metrics);
    return { labels, figures: v1 === undefined ? [] : v1Figures(v1) };
  } catch {
    return { labels, figures: [] }; // a task that has ended has no figures
  }
}

function v2Figures({ pids, cpu, memory, memoryEvents }: V2Metrics): Figure[] {
  return [
    ['container_pids_current', 'The current number of processes', pids?.current],
    ['container_pids_limit', 'The limit to the number of processes', pids?.limit],
    ['container_cpu_usage_usec_microseconds', 'Total cpu usage', cpu?.usageUsec],
    ['container_cpu_user_usec_microseconds', 'Current cpu usage in user space', cpu?.userUsec],
    ['container_cpu_system_usec_microseconds', 'Current cpu usage in the kernel', cpu?.systemUsec],
    ['container_cpu_nr_periods', 'Periods of cpu time', cpu?.nrPeriods],
    ['container_cpu_nr_throttled', 'Periods in which it was throttled', cpu?.nrThrottled],
    ['container_cpu_throttled_usec_microseconds', 'Time it was throttled', cpu?.throttledUsec],
    ['container_memory_usage_bytes', 'Current memory usage', memory?.usage],
    ['container_memory_usage_limit_bytes', 'Limit to the memory usage', memory?.usageLimit],
    ['container_memory_swap_usage_bytes', 'Current swap usage', memory?.swapUsage],
    ['container_memory_swap_limit_bytes', 'Limit to the swap usage', memory?.swapLimit],
    ['container_memory_anon_bytes', 'Anonymous memory', memory?.anon],
    ['container_memory_file_bytes', 'Memory of cached files', memory?.file],
    ['container_memory_pgfault_bytes', 'Page faults', memory?.pgfault],
    ['container_memory_pgmajfault_bytes', 'Major page faults', memory?.pgmajfault],
    ['container_memory_oom_total', 'How often it ran out of memory', memoryEvents?.oom],
    ['container_memory_oom_kill_total', 'Processes ended for it', memoryEvents?.oomKill],
  ];
}

function v1Figures({ pids, cpu, memory }: V1Metrics): Figure[] {
  return [
    ['container_pids_current', 'The current number of processes', pids?.current],
    ['container_pids_limit', 'The limit to the number of processes', pids?.limit],
    ['container_cpu_total_nanoseconds', 'Total cpu time', cpu?.usage?.total],
    ['container_cpu_user_nanoseconds', 'Cpu time in user space', cpu?.usage?.user],
    ['container_cpu_kernel_nanoseconds', 'Cpu time in the kernel', cpu?.usage?.kernel],
    ['container_cpu_throttle_periods_total', 'Periods of cpu time', cpu?.throttling?.periods],
    ['container_memory_usage_usage_bytes', 'Current memory usage', memory?.usage?.usage],
    ['container_memory_usage_limit_bytes', 'Limit to the memory usage', memory?.usage?.limit],
    ['container_memory_usage_max_bytes', 'Highest memory usage', memory?.usage?.max],
    ['container_memory_usage_failcnt_total', 'How often it met the limit', memory?.usage?.failcnt],
    ['container_memory_cache_bytes', 'Memory of cached files', memory?.cache],
    ['container_memory_rss_bytes', 'Anonymous memory', memory?.rss],
  ];
}
