import { readdirSync, readFileSync } from 'node:fs';
import { Counter, type Metric, type MetricRegistry } from '../metrics/index.ts';

/** What Prometheus' client libraries tell of every process, and which version this is. */
export function addProcessMetrics(
  registry: MetricRegistry,
  version: string,
  revision: string,
): void {
  const info = registry.add(
    new Counter('containerd_build_info_total', 'containerd build information'),
  );
  info.add({ revision, version });
  const startSeconds = (Date.now() - performance.now()) / 1000;
  registry.collect(() => {
    const { rss, heapUsed } = process.memoryUsage();
    const cpu = process.cpuUsage();
    return [
      {
        ...gauge(
          'process_cpu_seconds_total',
          'Total user and system CPU time spent in seconds.',
          (cpu.user + cpu.system) / 1e6,
        ),
        type: 'counter',
      },
      gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', rss),
      gauge('process_virtual_memory_bytes', 'Virtual memory size in bytes.', virtualBytes()),
      gauge('process_heap_bytes', 'Bytes of JavaScript objects.', heapUsed),
      gauge(
        'process_open_fds',
        'Number of open file descriptors.',
        readdirSync('/proc/self/fd').length,
      ),
      gauge(
        'process_start_time_seconds',
        'Start time of the process since unix epoch in seconds.',
        startSeconds,
      ),
    ];
  });
}

/** A metric with one value. */
export function gauge(name: string, help: string, value: number): Metric {
  return { name, help, type: 'gauge', series: () => [{ value }] };
}

const PAGE_BYTES = 4096;

/** The first field of statm, in pages (man 5 proc). */
function virtualBytes(): number {
  return Number.parseInt(readFileSync('/proc/self/statm', 'utf8'), 10) * PAGE_BYTES;
}
