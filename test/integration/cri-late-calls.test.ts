// Calls that meet the end of their pod, at whatever moment, are done, or are told that there is no such thing or that its state
// does not allow it: a kubelet takes NotFound for done, and tries again after FailedPrecondition. SEED repeats a run, ROUNDS
// says how many pods end.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';

const ROUNDS = Number(process.env['ROUNDS'] || 8);
const SEED = Number(process.env['SEED'] || Date.now() % 1_000_000);
/** Within which all calls begin: a pod ends in about that time. */
const SPREAD_MS = 150;
const NOT_FOUND = 5;
const FAILED_PRECONDITION = 9;
const UNAVAILABLE = 14;

/** The codes that a late call may get. */
function allowed(call: string): readonly number[] {
  if (call.startsWith('List')) return []; // the pod is in it, or is not
  if (/^(Stop|Remove)/.test(call)) return []; // done is done
  // Of a pod that is not ready, as containerd has it.
  if (call === 'PodSandboxStats') return [NOT_FOUND, UNAVAILABLE];
  return [NOT_FOUND, FAILED_PRECONDITION];
}

/** Makes a pod with a container that runs and one that does not, ends it, and asks meanwhile; returns the wrong answers. */
async function round(node: CriNode, random: SeededRandom): Promise<string[]> {
  const { runtime } = node;
  const sandboxConfig = node.podConfig();
  const { podSandboxId } = await runtime.runPodSandbox({ config: sandboxConfig });
  const create = async (name: string): Promise<string> => {
    const config = node.containerConfig(name, 'sleep 100000 & wait');
    return (await runtime.createContainer({ podSandboxId, config, sandboxConfig })).containerId;
  };
  const running = await create('running');
  await runtime.startContainer({ containerId: running });
  const created = await create('created');
  const ofContainer = (containerId: string): Readonly<Record<string, () => Promise<unknown>>> => ({
    StartContainer: () => runtime.startContainer({ containerId }),
    StopContainer: () => runtime.stopContainer({ containerId, timeout: 1n }),
    RemoveContainer: () => runtime.removeContainer({ containerId }),
    ContainerStatus: () => runtime.containerStatus({ containerId, verbose: true }),
    ContainerStats: () => runtime.containerStats({ containerId }),
    ExecSync: () => runtime.execSync({ containerId, cmd: ['true'], timeout: 10n }),
    Exec: () => runtime.exec({ containerId, cmd: ['true'], stdout: true }),
    ReopenContainerLog: () => runtime.reopenContainerLog({ containerId }),
    UpdateContainerResources: () =>
      runtime.updateContainerResources({ containerId, linux: { cpuShares: 100n } }),
  });
  const calls: (readonly [string, () => Promise<unknown>])[] = [
    ['StopPodSandbox', () => runtime.stopPodSandbox({ podSandboxId })],
    ['RemovePodSandbox', () => runtime.removePodSandbox({ podSandboxId })],
    ['PodSandboxStatus', () => runtime.podSandboxStatus({ podSandboxId, verbose: true })],
    ['PodSandboxStats', () => runtime.podSandboxStats({ podSandboxId })],
    ['ListPodSandboxStats', () => runtime.listPodSandboxStats({})],
    ['ListPodSandboxMetrics', () => runtime.listPodSandboxMetrics({})],
    ['ListContainerStats', () => runtime.listContainerStats({})],
    ['PortForward', () => runtime.portForward({ podSandboxId, port: [80] })],
    ['CreateContainer', () => create('late')],
    [
      'CreateContainer, StartContainer',
      async () => {
        await runtime.startContainer({ containerId: await create('later') });
      },
    ],
    ...Object.entries(ofContainer(running)),
    ...Object.entries(ofContainer(created)),
    ...Object.entries(ofContainer(running)),
  ];
  const results = await Promise.allSettled(
    calls.map(async ([, call]) => {
      await delay(random.below(SPREAD_MS));
      await call();
    }),
  );
  await node.remove(podSandboxId);
  return results.flatMap((result, index) => {
    if (result.status === 'fulfilled') return [];
    const { code = -1, message } = result.reason as { code?: number; message: string };
    const name = calls[index]?.[0] ?? '';
    return allowed(name).includes(code) ? [] : [`${name}: ${message}`];
  });
}

describe('calls while their pod ends', { skip: skipCri() }, () => {
  for (const isInProcess of [false, true]) {
    it(isInProcess ? 'with InProcess' : 'with tsrunc as a program', async (t) => {
      t.diagnostic(`SEED=${SEED} ROUNDS=${ROUNDS}`);
      const random = new SeededRandom(SEED);
      const table = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tsrunc';
      await using node = await CriNode.start({
        cri: `${table}]\nruntime_type = "io.containerd.tsrunc.v2"\n${table}.options]\nInProcess = ${isInProcess}`,
      });
      for (let count = 0; count < ROUNDS; count++)
        assert.deepEqual(await round(node, random), [], `SEED=${SEED}`);
    });
  }
});
