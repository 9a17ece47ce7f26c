// Pods and containers through the CRI, as a kubelet makes them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { ContainerState, PodSandboxState } from '../../internal/api/generated/runtime.v1.ts';
import { CriNode, IMAGE, skipCri } from '../fixtures/cri.ts';

describe('pods of the CRI', { skip: skipCri() }, () => {
  let node: CriNode;
  before(async () => {
    node = await CriNode.start();
  });
  after(() => node[Symbol.asyncDispose]());

  it('a pod is ready, is listed, is stopped and removed, and repeating that is no error', async () => {
    const config = node.podConfig({ labels: [['app', 'web']], annotations: [['note', 'a']] });
    const { podSandboxId } = await node.runtime.runPodSandbox({ config });
    assert.match(podSandboxId, /^[0-9a-f]{64}$/);
    const { status } = await node.runtime.podSandboxStatus({ podSandboxId });
    assert.equal(status?.state, PodSandboxState.SANDBOX_READY);
    assert.deepEqual([...(status?.labels ?? [])], [['app', 'web']]);
    const { items } = await node.runtime.listPodSandbox({
      filter: { labelSelector: [['app', 'web']] },
    });
    assert.deepEqual(
      items.map(({ id }) => id),
      [podSandboxId],
    );
    await assert.rejects(node.runtime.runPodSandbox({ config }), /is reserved for/);
    for (const _ of [1, 2]) await node.runtime.stopPodSandbox({ podSandboxId });
    const stopped = await node.runtime.podSandboxStatus({ podSandboxId });
    assert.equal(stopped.status?.state, PodSandboxState.SANDBOX_NOTREADY);
    for (const _ of [1, 2]) await node.runtime.removePodSandbox({ podSandboxId });
    await assert.rejects(
      node.runtime.podSandboxStatus({ podSandboxId }),
      /sandbox ".*": not found/,
    );
  });

  it('a container runs, writes its log, and its exit code stays', async () => {
    const { pod, id } = await node.run('echo out; echo err >&2; exit 3');
    const status = await node.exited(id);
    assert.equal(status.exitCode, 3);
    assert.equal(status.reason, 'Error');
    assert.ok(status.startedAt >= status.createdAt && status.finishedAt >= status.startedAt);
    const lines = readFileSync(status.logPath, 'utf8').trim().split('\n');
    assert.deepEqual(lines.map((line) => line.replace(/^\S+ /, '')).sort(), [
      'stderr F err',
      'stdout F out',
    ]);
    await node.remove(pod);
  });

  it('runs commands beside it, with their output and exit code', async () => {
    const { pod, id } = await node.run('sleep 1000');
    const result = await node.runtime.execSync({
      containerId: id,
      cmd: ['/bin/sh', '-c', 'echo $IMAGE; echo bad >&2; exit 7'],
      timeout: 10n,
    });
    assert.equal(Buffer.from(result.stdout).toString(), 'yes\n');
    assert.equal(Buffer.from(result.stderr).toString(), 'bad\n');
    assert.equal(result.exitCode, 7);
    await assert.rejects(
      node.runtime.execSync({ containerId: id, cmd: ['/bin/sleep', '100'], timeout: 1n }),
      /timeout of 1 s exceeded/,
    );
    await node.runtime.stopContainer({ containerId: id, timeout: 0n });
    const { status } = await node.runtime.containerStatus({ containerId: id });
    assert.equal(status?.state, ContainerState.CONTAINER_EXITED);
    assert.equal(status?.exitCode, 137);
    await node.remove(pod);
  });

  // A kubelet's worker for a pod may still be making containers when the pod is taken down.
  it('no container outlives its pod, at whatever moment that ends', async () => {
    for (const end of ['stopPodSandbox', 'removePodSandbox'] as const) {
      for (let round = 0; round < 8; round++) {
        const sandboxConfig = node.podConfig();
        const { podSandboxId } = await node.runtime.runPodSandbox({ config: sandboxConfig });
        const make = async (name: string): Promise<void> => {
          const config = node.containerConfig(name, 'exec sleep 100000');
          const request = { podSandboxId, config, sandboxConfig };
          const { containerId } = await node.runtime.createContainer(request);
          await node.runtime.startContainer({ containerId });
        };
        const making = ['a', 'b', 'c'].map(make);
        const settled = Promise.allSettled(making);
        for (let turn = 0; turn < round; turn++) await node.runtime.version({});
        await node.runtime[end]({ podSandboxId });
        await settled;
        const { containers } = await node.runtime.listContainers({});
        const left = containers.filter(({ state }) => {
          return end === 'removePodSandbox' || state === ContainerState.CONTAINER_RUNNING;
        });
        assert.deepEqual(left, [], `${end}, after ${round} calls`);
        await node.remove(podSandboxId);
      }
    }
  });

  it('lists the image under its id', async () => {
    const { image } = await node.images.imageStatus({ image: { image: IMAGE } });
    assert.deepEqual(image?.repoTags, [IMAGE]);
    assert.match(image?.id ?? '', /^sha256:[0-9a-f]{64}$/);
    const byId = await node.images.imageStatus({ image: { image: image?.id ?? '' } });
    assert.equal(byId.image?.id, image?.id);
  });
});
