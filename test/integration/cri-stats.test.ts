// What pods and containers use, as kubelets and crictl ask for it, beside the answers of containerd 2.1.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { NamespaceMode } from '../../internal/api/generated/runtime.v1.ts';
import { TASK_STATES } from '../../internal/cri/process-figures.ts';
import { CriNode, removeParentCgroup, skipCri } from '../fixtures/cri.ts';
import { NetworkMachine, skipNetworks } from '../fixtures/network-machine.ts';
import { peer } from '../peers/index.ts';

const MIB = 1024 * 1024;
/** Writes 3 MiB, holds 8 MiB of memory and computes without end, with two processes. */
const SCRIPT = `dd if=/dev/zero of=/file bs=1M count=3 2>/dev/null
x=$(head -c ${8 * MIB} /dev/zero | tr '\\0' a); sleep 1000 & while :; do :; done`;
const CGROUP = `/cri-stats-${process.pid}`;

/** What a kubelet that asks the CRI expects of it, with {,} as shells have it (cri-tools, pkg/validate; KEP-2371). */
const KUBELET_METRICS = [
  'blkio_device_usage_total',
  'cpu_{cfs_periods,cfs_throttled_periods,cfs_throttled_seconds,system_seconds,usage_seconds,user_seconds}_total',
  'file_descriptors',
  'fs_{inodes_free,inodes_total,limit_bytes,usage_bytes}',
  'fs_{reads_bytes,reads,writes_bytes,writes}_total',
  'hugetlb_{max_usage,usage}_bytes',
  'last_seen',
  'memory_{cache,failcnt,failures_total,kernel_usage,mapped_file,max_usage_bytes,rss,swap,usage_bytes,working_set_bytes}',
  'network_{receive,transmit}_{bytes,errors,packets_dropped,packets}_total',
  'oom_events_total',
  'pressure_{cpu,io,memory}_{stalled,waiting}_seconds_total',
  '{processes,sockets,start_time_seconds,tasks_state,threads,threads_max,ulimits_soft}',
  'spec_{cpu_period,cpu_quota,cpu_shares}',
  'spec_memory_{limit,reservation_limit,swap_limit}_bytes',
].flatMap((pattern) => expanded(`container_${pattern}`));

function expanded(pattern: string): string[] {
  const [, before = '', choices, after = ''] = /^(.*?)\{(.*?)\}(.*)$/.exec(pattern) ?? [];
  if (choices === undefined) return [pattern];
  return choices.split(',').flatMap((choice) => expanded(`${before}${choice}${after}`));
}

type Stats = Awaited<ReturnType<CriNode['runtime']['containerStats']>>['stats'];

describe('statistics of the CRI', { skip: skipCri() || skipNetworks() }, () => {
  let directory = '';
  let machine: NetworkMachine;
  let node: CriNode;
  let pod = '';
  let busy = '';
  let ended = '';
  let port = 0;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'daemon-'));
    machine = await NetworkMachine.start(join(directory, 'network'));
    machine.writeNetwork('10-pods.conflist');
    const binaries = join(import.meta.dirname, '../../dist/bin');
    port = await freePort();
    node = await CriNode.start({
      directory,
      wrapper: machine.wrapper,
      env: machine.env(`${binaries}:${process.env['PATH'] ?? ''}`),
      config: `[metrics]\naddress = "127.0.0.1:${port}"`,
      cri: machine.criTable,
    });
    await node.importImage();
    const sandboxConfig = node.podConfig({
      linux: { cgroupParent: CGROUP },
      labels: [['app', 'x']],
    });
    pod = (await node.runtime.runPodSandbox({ config: sandboxConfig })).podSandboxId;
    const make = async (name: string, script: string) => {
      const config = node.containerConfig(name, script, {
        labels: [['is', name]],
        linux: { resources: { memoryLimitInBytes: BigInt(64 * MIB), cpuShares: 512n } },
      });
      const made = await node.runtime.createContainer({ podSandboxId: pod, config, sandboxConfig });
      await node.runtime.startContainer({ containerId: made.containerId });
      return made.containerId;
    };
    busy = await make('busy', SCRIPT);
    ended = await make('ended', 'true');
    await node.exited(ended);
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    await machine[Symbol.asyncDispose]();
    removeParentCgroup(CGROUP);
    rmSync(directory, { recursive: true, force: true });
  });

  /** Asks until the container has done what its script does. */
  const settled = async (): Promise<NonNullable<Stats>> => {
    for (;;) {
      const { stats } = await node.runtime.containerStats({ containerId: busy });
      const bytes = stats?.memory?.workingSetBytes?.value ?? 0n;
      if (stats !== undefined && stats.cpu?.usageNanoCores !== undefined && bytes > 8 * MIB)
        return stats;
      await new Promise((resolve) => setTimeout(resolve, 100)); // a kubelet asks from time to time, too
    }
  };

  it('a container: processor, memory, swap, files', async () => {
    const { attributes, cpu, memory, writableLayer } = await settled();
    assert.equal(attributes?.id, busy);
    assert.deepEqual(attributes?.metadata, { name: 'busy', attempt: 0 });
    const between = (value: bigint | undefined, low: number, high: number) =>
      assert.ok(value !== undefined && value >= low && value <= high, `${value}: ${low}–${high}`);
    between(cpu?.usageCoreNanoSeconds?.value, 1e6, 1e12);
    between(cpu?.usageNanoCores?.value, 1e6, 2e9);
    between(memory?.workingSetBytes?.value, 8 * MIB, 64 * MIB);
    between(memory?.availableBytes?.value, 0, 56 * MIB);
    between(memory?.rssBytes?.value, 8 * MIB, 64 * MIB);
    between(memory?.usageBytes?.value, 8 * MIB, 64 * MIB);
    between(memory?.pageFaults?.value, 100, 1e9);
    between(writableLayer?.usedBytes?.value, 3 * MIB, 4 * MIB);
    between(writableLayer?.inodesUsed?.value, 1, 10);
    assert.equal(
      writableLayer?.fsId?.mountpoint,
      join(node.daemon.root, 'io.containerd.snapshotter.v1.overlayfs'),
    );
  });

  it('a container that has ended has files only', async () => {
    const { stats } = await node.runtime.containerStats({ containerId: ended });
    assert.deepEqual([stats?.cpu, stats?.memory], [undefined, undefined]);
    assert.notEqual(stats?.writableLayer, undefined);
    await assert.rejects(node.runtime.containerStats({ containerId: 'gone' }), /container "gone"/);
  });

  it('lists by filter, and the streams say the same', async () => {
    const ids = async (filter: Parameters<CriNode['runtime']['listContainerStats']>[0]['filter']) =>
      (await node.runtime.listContainerStats({ filter })).stats
        .map(({ attributes }) => attributes?.id)
        .sort();
    assert.deepEqual(await ids(undefined), [busy, ended].sort());
    assert.deepEqual(await ids({ id: busy.slice(0, 20) }), [busy]);
    assert.deepEqual(await ids({ podSandboxId: pod, labelSelector: [['is', 'ended']] }), [ended]);
    assert.deepEqual(await ids({ podSandboxId: 'other' }), []);
    const pods = await node.runtime.listPodSandboxStats({
      filter: { labelSelector: [['app', 'x']] },
    });
    assert.deepEqual(
      pods.stats.map(({ attributes }) => attributes?.id),
      [pod],
    );
    const streamed: unknown[] = [];
    for await (const { containerStats } of node.runtime.streamContainerStats({
      filter: { id: busy },
    }))
      streamed.push(...containerStats.map(({ attributes }) => attributes?.id));
    for await (const { podSandboxStats } of node.runtime.streamPodSandboxStats({}))
      streamed.push(...podSandboxStats.map(({ attributes }) => attributes?.id));
    for await (const { podSandboxMetrics } of node.runtime.streamPodSandboxMetrics({}))
      streamed.push(...podSandboxMetrics.map(({ podSandboxId }) => podSandboxId));
    assert.deepEqual(streamed, [busy, pod, pod]);
  });

  it('a pod: what its cgroup uses, its processes, its network', async () => {
    const { stats: first } = await node.runtime.podSandboxStats({ podSandboxId: pod });
    const ip = (await node.runtime.podSandboxStatus({ podSandboxId: pod })).status?.network?.ip;
    machine.run(peer('busybox').path, 'ping', '-c', '3', '-i', '0.2', '-s', '1000', ip ?? '');
    await settled();
    const { stats } = await node.runtime.podSandboxStats({ podSandboxId: pod });
    const { cpu, memory, network, process: processes, containers } = stats?.linux ?? {};
    assert.deepEqual(containers?.map(({ attributes }) => attributes?.metadata?.name).sort(), [
      'busy',
      'ended',
    ]);
    // The pause process, the shell and its sleep.
    assert.equal(processes?.processCount?.value, 3n);
    assert.equal(network?.defaultInterface?.name, 'eth0');
    assert.deepEqual(
      network?.interfaces.map(({ name }) => name),
      ['eth0'],
    );
    const received = (of: typeof first) =>
      Number(of?.linux?.network?.defaultInterface?.rxBytes?.value);
    assert.ok(received(stats) - received(first) >= 3000, `${received(first)}, ${received(stats)}`);
    const inner = containers?.find(({ attributes }) => attributes?.id === busy);
    assert.ok(
      (cpu?.usageCoreNanoSeconds?.value ?? 0n) >= (inner?.cpu?.usageCoreNanoSeconds?.value ?? 1n),
    );
    assert.ok((memory?.usageBytes?.value ?? 0n) > 8 * MIB);
  });

  it('metrics under the names of cAdvisor, each with all its labels', async () => {
    const { descriptors } = await node.runtime.listMetricDescriptors({});
    const names = descriptors.map(({ name }) => name);
    assert.deepEqual(
      KUBELET_METRICS.filter((name) => !names.includes(name)),
      [],
    );
    const { podMetrics } = await node.runtime.listPodSandboxMetrics({});
    const [only, ...more] = podMetrics;
    assert.deepEqual([only?.podSandboxId, more], [pod, []]);
    const all = [
      ...(only?.metrics ?? []),
      ...(only?.containerMetrics ?? []).flatMap(({ metrics }) => metrics),
    ];
    for (const { name, labelValues } of all) {
      const keys = descriptors.find((descriptor) => descriptor.name === name)?.labelKeys;
      assert.equal(labelValues.length, keys?.length, name);
    }
    // Not where the kernel does not count them: swap, pressure, huge pages, and devices that nobody has used.
    const optional = /^container_(memory_swap$|pressure_|hugetlb_|fs_(reads|writes)_|blkio_)/;
    const missing = descriptors.filter(({ name }) => !all.some((metric) => metric.name === name));
    assert.deepEqual(
      missing.map(({ name }) => name).filter((name) => !optional.test(name)),
      [],
    );
    const labels = ['busy', 'pod-1', 'default', busy];
    const value = (name: string) =>
      all.find(
        (metric) =>
          metric.name === name && labels.every((text, at) => metric.labelValues[at] === text),
      )?.value?.value ?? -1n;
    assert.ok(value('container_memory_working_set_bytes') > 8 * MIB);
    assert.equal(value('container_spec_memory_limit_bytes'), BigInt(64 * MIB));
    assert.equal(value('container_processes'), 2n);
    assert.ok(value('container_fs_usage_bytes') >= 3 * MIB);
    assert.equal(value('container_threads'), 2n);
    assert.ok(value('container_file_descriptors') >= 6n);
    assert.equal(value('container_spec_cpu_shares'), 512n);
    const states = all
      .filter(({ name }) => name === 'container_tasks_state')
      .map(({ labelValues, value: count }) => [labelValues.at(-1), Number(count?.value)] as const);
    assert.deepEqual(
      states.map(([state]) => state),
      TASK_STATES,
    );
    assert.equal(
      states.reduce((sum, [, count]) => sum + count, 0),
      2,
    );
    assert.ok(Object.fromEntries(states).running === 1, 'the shell computes');
  });

  it('the daemon counts its calls', async () => {
    await assert.rejects(node.runtime.containerStatus({ containerId: 'none' }));
    const text = machine.run(
      peer('busybox').path,
      ...['wget', '-q', '-O', '-', `http://127.0.0.1:${port}/v1/metrics`],
    );
    const value = (line: string) => Number(new RegExp(`^${line} (\\d+)$`, 'm').exec(text)?.[1]);
    const type = (name: string) => `\\{operation_type="${name}"\\}`;
    assert.equal(value(`container_runtime_cri_operations_total${type('RunPodSandbox')}`), 1);
    assert.equal(
      value(`container_runtime_cri_operations_errors_total${type('ContainerStatus')}`),
      1,
    );
    assert.equal(
      value(`container_runtime_cri_operations_latency_seconds_count${type('CreateContainer')}`),
      2,
    );
  });
});

/** containerd has no statistics of a pod without a cgroup of its own. */
const HOST_NETWORK = {
  linux: {
    cgroupParent: CGROUP,
    securityContext: { namespaceOptions: { network: NamespaceMode.NODE } },
  },
};
const skipContainerd = skipCri('containerd-2.1') || peer('crictl').skip;

describe('statistics by crictl, beside containerd', { skip: skipCri() || skipContainerd }, () => {
  /** Names of all fields in an answer, with the kind of the value. */
  const shape = (value: unknown, path = ''): string[] => {
    if (Array.isArray(value)) return value.flatMap((entry) => shape(entry, `${path}[]`));
    if (typeof value !== 'object' || value === null) return [`${path}: ${typeof value}`];
    return Object.entries(value).flatMap(([key, entry]) => shape(entry, `${path}.${key}`));
  };
  const look = async (kind: 'tscontainerd' | 'containerd-2.1') => {
    await using node = await CriNode.start({ kind });
    const { pod, id } = await node.run('while :; do :; done', {}, HOST_NETWORK);
    const shapes: Record<string, string[]> = {};
    for (const command of ['stats', 'statsp']) {
      const target = command === 'stats' ? id : pod;
      // The second answer has the rate, and the layer's usage.
      for (const _ of [1, 2]) {
        shapes[command] = shape(
          JSON.parse(await node.crictl(command, '-o', 'json', '--id', target)),
        );
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
    const table = await node.crictl('stats');
    await node.remove(pod);
    return { shapes, table };
  };

  after(() => removeParentCgroup(CGROUP));

  it('has every field that containerd has', async () => {
    const [theirs, ours] = [await look('containerd-2.1'), await look('tscontainerd')];
    for (const command of ['stats', 'statsp']) {
      const mine = new Set(ours.shapes[command]);
      assert.deepEqual(
        theirs.shapes[command]?.filter((field) => !mine.has(field)),
        [],
        command,
      );
    }
    const heading = (table: string) => table.split('\n')[0]?.split(/\s{2,}/);
    assert.deepEqual(heading(ours.table), heading(theirs.table));
    assert.match(ours.table, /\bmain\b/);
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
