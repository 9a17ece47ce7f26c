import { type AnyMessage, unpackAny } from '../../api/any.ts';
import { Tasks } from '../../api/generated/containerd.services.tasks.v1.ts';
import { Metrics as MetricsV1 } from '../../api/generated/io.containerd.cgroups.v1.ts';
import { Metrics as MetricsV2 } from '../../api/generated/io.containerd.cgroups.v2.ts';
import { timestampToNs } from '../../api/time.ts';
import { TsError } from '../../errors/index.ts';
import type { Command } from '../command.ts';
import { goJson } from '../go-json.ts';
import { argument } from '../labels.ts';
import { goTime } from '../message-json.ts';
import { formatTable, WIDE } from '../table.ts';
import { getContainer } from '../task-create.ts';

/** `tsctr tasks metrics`. */
export const METRICS: Command = {
  name: 'metrics',
  aliases: ['metric'],
  summary: 'print what a task uses',
  usage: 'CONTAINER',
  objects: ['task'],
  async run({ client, args, output }) {
    const containerId = argument(args, 0, 'container id must be provided');
    await getContainer(client, containerId);
    const { metrics } = await client.service(Tasks).metrics({ filters: [`id==${containerId}`] });
    const [metric] = metrics;
    if (metric?.data === undefined) throw new TsError('NotFound', 'no metrics received');
    const { data, id, timestamp } = metric;
    if (output.format === 'json') {
      output.json(goJson(decoded(data)));
      return;
    }
    const ns = timestamp === undefined ? 0n : timestampToNs(timestamp);
    output.write(
      formatTable(
        [
          ['ID', 'TIMESTAMP', ''],
          [id, goTime(ns), ''],
          [''],
          ['METRIC', 'VALUE', ''],
          ...rows(data),
        ],
        WIDE,
      ),
    );
  },
};

function decoded(data: AnyMessage): object {
  return unpackAny(data, MetricsV1) ?? unpackAny(data, MetricsV2) ?? data;
}

function rows(data: AnyMessage): string[][] {
  const v1 = unpackAny(data, MetricsV1);
  const pairs = v1 === undefined ? v2Rows(unpackAny(data, MetricsV2)) : v1Rows(v1);
  return pairs.map(([name, value]) => [name, String(value), '']);
}

type Row = readonly [name: string, value: bigint | number | string];

function v1Rows({ memory, cpu, pids }: MetricsV1): Row[] {
  return [
    ...(memory === undefined
      ? []
      : ([
          ['memory.usage_in_bytes', memory.usage?.usage ?? 0n],
          ['memory.limit_in_bytes', memory.usage?.limit ?? 0n],
          ['memory.stat.cache', memory.totalCache],
        ] satisfies Row[])),
    ...(cpu === undefined
      ? []
      : ([
          ['cpuacct.usage', cpu.usage?.total ?? 0n],
          ['cpuacct.usage_percpu', `[${(cpu.usage?.perCpu ?? []).join(' ')}]`],
        ] satisfies Row[])),
    ...(pids === undefined
      ? []
      : ([
          ['pids.current', pids.current],
          ['pids.limit', pids.limit],
        ] satisfies Row[])),
  ];
}

function v2Rows(metrics: MetricsV2 | undefined): Row[] {
  if (metrics === undefined) return [];
  const { pids, cpu, memory } = metrics;
  return [
    ['pids.current', pids?.current ?? 0n],
    ['pids.limit', pids?.limit ?? 0n],
    ['cpu.usage_usec', cpu?.usageUsec ?? 0n],
    ['cpu.user_usec', cpu?.userUsec ?? 0n],
    ['cpu.system_usec', cpu?.systemUsec ?? 0n],
    ['cpu.nr_periods', cpu?.nrPeriods ?? 0n],
    ['cpu.nr_throttled', cpu?.nrThrottled ?? 0n],
    ['cpu.throttled_usec', cpu?.throttledUsec ?? 0n],
    ['memory.usage', memory?.usage ?? 0n],
    ['memory.usage_limit', memory?.usageLimit ?? 0n],
    ['memory.swap_usage', memory?.swapUsage ?? 0n],
    ['memory.swap_limit', memory?.swapLimit ?? 0n],
  ];
}
