// A full node: pods of two containers each, then exec probes in some of them as a kubelet makes them, then nothing is left.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { ContainerState, PodSandboxState } from '../../internal/api/generated/runtime.v1.ts';
import { median } from '../bench/measure.ts';
import { memoryOf } from '../bench/memory.ts';
import { cpuOf } from '../bench/shim-subject.ts';
import { liveProcesses } from '../demo/process-tree.ts';
import { cgroupName, traces } from '../demo/workspace.ts';
import { CriNode, removeParentCgroup } from '../fixtures/cri.ts';
import { MemoryCurve } from './memory-curve.ts';

export interface PodSoakOptions {
  readonly pods: number;
  /** How many of the pods stay and are probed, once a second each. */
  readonly probed: number;
  /** How long they are probed. */
  readonly seconds: number;
  /** How long a probe may take; a kubelet gives it a second. */
  readonly probeTimeoutS: number;
  readonly onProgress?: (line: string) => void;
}

export interface PodSoakReport {
  readonly probes: number;
  /** What each probe that did not succeed said. */
  readonly failures: readonly string[];
  /** Milliseconds, of a probe as the client sees it. */
  readonly probeWallMs: number;
  /** Processor milliseconds of a probe, in daemon and shims with what they started. */
  readonly probeCpuMs: number;
  /** PSS of daemon and shims by the number of pods, in kilobytes, when all pods were there. */
  readonly pssPerPodKb: number;
  /** Resident kilobytes early and late: of the daemon, then of the shim that grew most. */
  readonly memory: readonly {
    readonly name: string;
    readonly earlyKb: number;
    readonly lateKb: number;
  }[];
}

interface Pod {
  readonly id: string;
  readonly containers: readonly string[];
}

const CONTAINERS = 2;
/** Requests at a time, as a kubelet that starts has them. */
const AT_ONCE = 10;
const SHIM = 'containerd-shim-tsrunc-v2';
const HANDLER = 'inside';
const PERIOD_MS = 1000;
/** By when what the removed pods had is gone. */
const DEADLINE_MS = 30_000;
const SETTINGS = `[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${HANDLER}]
runtime_type = "io.containerd.tsrunc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${HANDLER}.options]
InProcess = true`;

/** Throws an Error when a call fails or anything is left; probes that fail are in the report. */
export async function soakPods(options: PodSoakOptions): Promise<PodSoakReport> {
  const { pods: count, probed, onProgress = () => {} } = options;
  await using node = await CriNode.start({ cri: SETTINGS });
  const { directory } = node.daemon;
  const parent = `/${cgroupName(directory)}`;
  using _cleanup = { [Symbol.dispose]: () => removeParentCgroup(parent) };
  void _cleanup;
  const before = traces(directory);
  const numbers = Array.from({ length: count }, (_, index) => index);
  const pods = await inTurns(numbers, () => makePod(node, parent));
  await checkLists(node, count);
  const pssPerPodKb = pssOf(node) / count;
  onProgress(`${count} pods with ${CONTAINERS} containers each run`);
  await inTurns(pods.slice(probed), ({ id }) => node.remove(id));
  await checkLists(node, Math.min(probed, count));
  onProgress(`${probed} of them are probed for ${options.seconds} s`);
  const report = await probeAll(node, pods.slice(0, probed), options);
  await inTurns(pods.slice(0, probed), ({ id }) => node.remove(id));
  await checkLists(node, 0);
  await nothingLeft(directory, before);
  return { ...report, pssPerPodKb };
}

async function makePod(node: CriNode, cgroupParent: string): Promise<Pod> {
  const plain = node.podConfig();
  const sandboxConfig = { ...plain, linux: { ...plain.linux, cgroupParent } };
  const { podSandboxId } = await node.runtime.runPodSandbox({
    config: sandboxConfig,
    runtimeHandler: HANDLER,
  });
  const containers: string[] = [];
  for (let number = 0; number < CONTAINERS; number++) {
    const script = 'trap "exit 0" TERM; sleep 100000 & wait';
    const config = node.containerConfig(`c${number}`, script);
    const { containerId } = await node.runtime.createContainer({
      podSandboxId,
      config,
      sandboxConfig,
    });
    await node.runtime.startContainer({ containerId });
    containers.push(containerId);
  }
  return { id: podSandboxId, containers };
}

/** What a kubelet asks all the time: as many are there, and each has statistics. */
async function checkLists({ runtime }: CriNode, pods: number): Promise<void> {
  const { items } = await runtime.listPodSandbox({});
  assert.equal(items.length, pods, 'pods');
  assert.ok(items.every(({ state }) => state === PodSandboxState.SANDBOX_READY));
  const { containers } = await runtime.listContainers({});
  assert.equal(containers.length, pods * CONTAINERS, 'containers');
  assert.ok(containers.every(({ state }) => state === ContainerState.CONTAINER_RUNNING));
  const { stats } = await runtime.listContainerStats({});
  assert.equal(stats.length, pods * CONTAINERS, 'statistics of containers');
  const { stats: podStats } = await runtime.listPodSandboxStats({});
  assert.equal(podStats.length, pods, 'statistics of pods');
}

async function probeAll(
  node: CriNode,
  pods: readonly Pod[],
  { seconds, probeTimeoutS }: PodSoakOptions,
): Promise<Omit<PodSoakReport, 'pssPerPodKb'>> {
  const shimPids = shimsOf(node);
  assert.equal(shimPids.length, pods.length, 'shims');
  const pids = [node.daemon.process.pid ?? 0, ...shimPids];
  const cpuMs = () => pids.reduce((sum, pid) => sum + cpuOf(pid), 0);
  const curves = pids.map((pid) => new MemoryCurve(pid, seconds));
  const failures: string[] = [];
  const wallsMs: number[] = [];
  const cpuBeforeMs = cpuMs();
  const endMs = performance.now() + seconds * 1000;
  await Promise.all(
    pods.map(async ({ containers: [containerId = ''] }, index) => {
      await delay((index * PERIOD_MS) / pods.length); // not all in one moment
      while (performance.now() < endMs) {
        const startedMs = performance.now();
        const failure = await probe(node, containerId, probeTimeoutS);
        if (failure !== undefined) failures.push(failure);
        const wallMs = performance.now() - startedMs;
        wallsMs.push(wallMs);
        await delay(Math.max(0, PERIOD_MS - wallMs));
      }
    }),
  );
  const probeCpuMs = (cpuMs() - cpuBeforeMs) / wallsMs.length;
  for (const curve of curves) curve.stop();
  const [daemon, ...shims] = curves.map(({ earlyKb, lateKb }) => ({ earlyKb, lateKb }));
  const grown = shims.toSorted((a, b) => b.lateKb / b.earlyKb - a.lateKb / a.earlyKb)[0];
  const memory = [
    ...(daemon === undefined ? [] : [{ name: 'daemon', ...daemon }]),
    ...(grown === undefined ? [] : [{ name: 'the shim that grew most', ...grown }]),
  ];
  return { probes: wallsMs.length, failures, probeWallMs: median(wallsMs), probeCpuMs, memory };
}

/** Why it failed, if it did. */
async function probe(
  { runtime }: CriNode,
  containerId: string,
  timeoutS: number,
): Promise<string | undefined> {
  try {
    const cmd = ['/bin/true'];
    const { exitCode } = await runtime.execSync({ containerId, cmd, timeout: BigInt(timeoutS) });
    return exitCode === 0 ? undefined : `exit code ${exitCode}`;
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}

function shimsOf({ daemon }: CriNode): number[] {
  return liveProcesses()
    .filter(({ program, arguments: args }) => program === SHIM && args.includes(daemon.address))
    .map(({ pid }) => pid);
}

function pssOf(node: CriNode): number {
  const pids = [node.daemon.process.pid ?? 0, ...shimsOf(node)];
  return pids.reduce((sum, pid) => sum + memoryOf(pid).pssKb, 0);
}

/** Shims leave some time after the last task: waits for it. */
async function nothingLeft(directory: string, before: ReturnType<typeof traces>): Promise<void> {
  const parents = (now: ReturnType<typeof traces>) => {
    const { processes, mounts, cgroups } = now;
    // The parent that the pods were given is not theirs.
    return {
      processes,
      mounts,
      cgroups: cgroups.filter((path) => !path.endsWith(cgroupName(directory))),
    };
  };
  const deadlineMs = performance.now() + DEADLINE_MS;
  while (JSON.stringify(parents(traces(directory))) !== JSON.stringify(parents(before))) {
    if (performance.now() > deadlineMs) {
      assert.deepEqual(parents(traces(directory)), parents(before));
    }
    await delay(100); // there is no event for the last of them
  }
}

/** Calls `work` for each of `items`, some at a time. */
async function inTurns<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const rest = items.entries();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const [index, item] of rest) results[index] = await work(item);
    }),
  );
  return results;
}
