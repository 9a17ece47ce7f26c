// Statistics of a task on pure cgroup v2: each number of io.containerd.cgroups.v2.Metrics is the one in the kernel's file. The
// task has been throttled, has reached its memory limit, has written to a disk; then it is paused, so that nothing counts on.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { unpackAny } from '../../internal/api/any.ts';
import { Metrics } from '../../internal/api/generated/io.containerd.cgroups.v2.ts';
import { bundleSpec, PlayedDaemon, type Shim, skipWithout, until } from '../fixtures/shim.ts';
import { layoutHere, machineOnly } from './machine.ts';

const SIGKILL = 9;
const UNLIMITED = 2n ** 64n - 1n;
const MEMORY_LIMIT = 48n << 20n;
const notHere = machineOnly() || (layoutHere() !== 'v2' && 'cgroup v2 only');

/** Fields of MemoryStat that are lines of memory.stat under the same name, in its spelling. */
const MEMORY_LINES =
  `anon file kernel_stack slab sock shmem file_mapped file_dirty file_writeback anon_thp inactive_anon
  active_anon inactive_file active_file unevictable slab_reclaimable slab_unreclaimable pgfault pgmajfault
  workingset_nodereclaim pgrefill pgscan pgsteal pgactivate pgdeactivate pglazyfree pglazyfreed thp_fault_alloc
  thp_collapse_alloc`.split(/\s+/);

/** Of a limit's file, or one of a count. */
const numberOf = (text: string): bigint => (text.trim() === 'max' ? UNLIMITED : BigInt(text));
const camel = (name: string) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** Lines `name number`. */
function lines(text: string): Record<string, bigint> {
  const rows = text
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  return Object.fromEntries(rows.map(([name = '', value = '']) => [name, BigInt(value)]));
}

/** The lines of these names, as fields of a message. */
function fields(text: string, names: readonly string[]): Record<string, bigint> {
  const values = lines(text);
  return Object.fromEntries(names.map((name) => [camel(name), values[name] ?? 0n]));
}

/** `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and a line `full`. */
function pressure(text: string): object {
  const row = (name: string) => {
    const pattern = `^${name} avg10=(\\S+) avg60=(\\S+) avg300=(\\S+) total=(\\d+)$`;
    const [, avg10, avg60, avg300, total = ''] = new RegExp(pattern, 'm').exec(text) ?? [];
    return {
      avg10: Number(avg10),
      avg60: Number(avg60),
      avg300: Number(avg300),
      total: BigInt(total),
    };
  };
  return { some: row('some'), full: row('full') };
}

/** Lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`. */
function ioEntries(text: string): object[] {
  return text.trim() === ''
    ? []
    : text
        .trim()
        .split('\n')
        .map((line) => {
          const [device = '', ...pairs] = line.split(' ');
          const [major = '', minor = ''] = device.split(':');
          const values = Object.fromEntries(pairs.map((pair) => pair.split('=')));
          const of = (name: string) => BigInt(values[name] ?? 0);
          return {
            major: BigInt(major),
            minor: BigInt(minor),
            rbytes: of('rbytes'),
            wbytes: of('wbytes'),
            rios: of('rios'),
            wios: of('wios'),
          };
        });
}

/** What the files of a cgroup say, as the message has it. */
function fromFiles(directory: string): object {
  const read = (name: string) => readFileSync(join(directory, name), 'utf8');
  const count = (name: string) => numberOf(read(name));
  const stat = read('memory.stat');
  const sum = (prefix: string) =>
    Object.entries(lines(stat))
      .filter(([name]) => name.startsWith(prefix))
      .reduce((total, [, value]) => total + value, 0n);
  const cpuNames =
    'usage_usec user_usec system_usec nr_periods nr_throttled throttled_usec nr_bursts burst_usec';
  return {
    pids: { current: count('pids.current'), limit: count('pids.max') },
    cpu: {
      ...fields(read('cpu.stat'), cpuNames.split(' ')),
      psi: pressure(read('cpu.pressure')),
    },
    memory: {
      ...fields(stat, MEMORY_LINES),
      workingsetRefault: sum('workingset_refault'),
      workingsetActivate: sum('workingset_activate'),
      usage: count('memory.current'),
      usageLimit: count('memory.max'),
      swapUsage: count('memory.swap.current'),
      swapLimit: count('memory.swap.max'),
      maxUsage: count('memory.peak'),
      swapMaxUsage: count('memory.swap.peak'),
      psi: pressure(read('memory.pressure')),
    },
    memoryEvents: fields(
      read('memory.events'),
      'low high max oom oom_kill oom_group_kill'.split(' '),
    ),
    io: { usage: ioEntries(read('io.stat')), psi: pressure(read('io.pressure')) },
    hugetlb: readdirSync(directory)
      .flatMap((name) => /^hugetlb\.([^.]+)\.current$/.exec(name)?.[1] ?? [])
      .sort()
      .map((pagesize) => ({
        pagesize,
        current: count(`hugetlb.${pagesize}.current`),
        max: count(`hugetlb.${pagesize}.max`),
        failcnt: lines(read(`hugetlb.${pagesize}.events`))['max'],
      })),
  };
}

async function metricsOf(shim: Shim): Promise<Metrics> {
  const { stats } = await shim.task.stats({ id: 'c1' });
  assert.equal(stats?.typeUrl, 'io.containerd.cgroups.v2.Metrics');
  const metrics = unpackAny(stats, Metrics);
  assert.ok(metrics);
  return metrics;
}

/** The message's parts, without what the machine has no controller for. */
function compared({ pids, cpu, memory, memoryEvents, io, hugetlb }: Metrics): object {
  const bySize = hugetlb.toSorted((a, b) => (a.pagesize < b.pagesize ? -1 : 1));
  return { pids, cpu, memory, memoryEvents, io, hugetlb: bySize };
}

/** Reads files, statistics and files until both readings of the files are the same. */
async function comparable(shim: Shim, directory: string): Promise<[object, Metrics]> {
  const deadlineMs = performance.now() + 60_000;
  for (;;) {
    const before = fromFiles(directory);
    const metrics = await metricsOf(shim);
    if (isDeepStrictEqual(fromFiles(directory), before)) return [before, metrics];
    assert.ok(performance.now() < deadlineMs, 'the files of a paused container keep changing');
  }
}

for (const runtime of ['tsrunc', 'in-process'] as const) {
  test(`${runtime}: what a task has used is what the kernel's files say`, {
    skip: notHere || skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const disk = mkdtempSync('/root/shim-metrics-'); // /tmp is memory
    try {
      const { mounts, linux } = bundleSpec('c1', []) as { mounts: object[]; linux: object };
      const data = { destination: '/tmp/data', type: 'bind', source: disk, options: ['bind'] };
      const resources = {
        memory: { limit: Number(MEMORY_LIMIT), swap: Number(MEMORY_LIMIT) },
        cpu: { quota: 20_000, period: 100_000 },
        pids: { limit: 33 },
      };
      const shim = await daemon.shim(
        ['/bin/sleep', '1000'],
        { runtime },
        { mounts: [...mounts, data], linux: { ...linux, resources } },
      );
      const pid = await shim.create();
      await shim.start();
      await shim.exec('io', [
        '/bin/dd',
        ...['if=/dev/zero', 'of=/tmp/data/file', 'bs=65536', 'count=64', 'conv=fsync'],
      ]);
      assert.equal(await shim.wait('io'), 0);
      await shim.exec('big', ['/bin/sh', '-c', 'x=a; while true; do x=$x$x; done']);
      assert.equal(await shim.wait('big'), 128 + SIGKILL);
      await shim.task.pause({ id: 'c1' });
      const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] ?? '';
      const directory = join('/sys/fs/cgroup', path);
      assert.ok(existsSync(join(directory, 'cgroup.freeze')), directory);

      const [files, metrics] = await comparable(shim, directory);
      assert.deepEqual(compared(metrics), files);
      const { pids, cpu, memory, memoryEvents, io } = metrics;
      assert.deepEqual([pids?.current, pids?.limit], [1n, 33n]);
      assert.ok((cpu?.nrThrottled ?? 0n) > 0n, 'it was throttled');
      assert.ok((cpu?.usageUsec ?? 0n) >= (cpu?.userUsec ?? 0n));
      assert.equal(memory?.usageLimit, MEMORY_LIMIT);
      assert.ok((memoryEvents?.oomKill ?? 0n) >= 1n, 'it was killed for want of memory');
      const written = io?.usage.reduce((total, { wbytes }) => total + wbytes, 0n) ?? 0n;
      assert.ok(written >= 64n * 65_536n, `${written} bytes were written`);

      await shim.task.resume({ id: 'c1' });
      await shim.task.kill({ id: 'c1', signal: SIGKILL });
      assert.equal(await shim.wait(), 128 + SIGKILL);
      await shim.finish();
      await until(() => daemon.topics.includes('/tasks/oom'), 'the event of the kill');
    } finally {
      rmSync(disk, { recursive: true });
    }
  });
}
