// Pods live longer than the daemon: it is killed, and finds them again.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { ContainerState, PodSandboxState } from '../../internal/api/generated/runtime.v1.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';

describe('the CRI after SIGKILL of the daemon', { skip: skipCri() }, () => {
  it('has its pods again: running, ended meanwhile, and not yet started', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'daemon-'));
    try {
      let node = await CriNode.start({ directory });
      await node.importImage();
      const { pod, id: running } = await node.run(
        'i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done',
      );
      const sandboxConfig = node.podConfig();
      const other = await node.runtime.runPodSandbox({ config: sandboxConfig });
      const make = async (name: string, script: string) => {
        const config = node.containerConfig(name, script);
        const podSandboxId = other.podSandboxId;
        return (await node.runtime.createContainer({ podSandboxId, config, sandboxConfig }))
          .containerId;
      };
      const created = await make('created', 'exit 4');
      const ends = await make('ends', 'read line </tmp/never 2>/dev/null; sleep 0.5; exit 5');
      await node.runtime.startContainer({ containerId: ends });
      await node.daemon.kill('SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 1000)); // what is tested is an end while nobody looks
      await node[Symbol.asyncDispose]();

      node = await CriNode.start({ directory });
      const { items } = await node.runtime.listPodSandbox({});
      assert.deepEqual(
        items.map(({ state }) => state),
        [PodSandboxState.SANDBOX_READY, PodSandboxState.SANDBOX_READY],
      );
      const state = async (containerId: string) =>
        (await node.runtime.containerStatus({ containerId })).status?.state;
      assert.equal(await state(running), ContainerState.CONTAINER_RUNNING);
      assert.equal(await state(created), ContainerState.CONTAINER_CREATED);
      assert.equal((await node.exited(ends)).exitCode, 5);
      await node.runtime.startContainer({ containerId: created });
      assert.equal((await node.exited(created)).exitCode, 4);
      const { stdout } = await node.runtime.execSync({
        containerId: running,
        cmd: ['echo', 'again'],
        timeout: 20n,
      });
      assert.equal(Buffer.from(stdout).toString(), 'again\n');
      await node.runtime.stopContainer({ containerId: running, timeout: 0n });
      const { logPath } = await node.exited(running);
      const numbers = readFileSync(logPath, 'utf8')
        .trim()
        .split('\n')
        .map((line) => Number(line.split(' ')[3]));
      assert.deepEqual(
        numbers,
        numbers.map((_, index) => index + 1),
        'a line was lost',
      );
      for (const podSandboxId of [pod, other.podSandboxId]) await node.remove(podSandboxId);
      assert.deepEqual((await node.runtime.listPodSandbox({})).items, []);
      await node[Symbol.asyncDispose]();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('a container that was paused for a checkpoint goes on, and nothing of the checkpoint is left', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'daemon-'));
    try {
      let node = await CriNode.start({ directory });
      await node.importImage();
      const { pod, id } = await node.run('i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done');
      // As CheckpointContainer leaves it when the daemon is killed in it.
      const ctr = (...args: string[]): string => {
        const { status, stdout, stderr } = node.daemon.ctr('ctr-2.1', ['-n', 'k8s.io', ...args]);
        assert.equal(status, 0, stderr);
        return stdout;
      };
      ctr('tasks', 'pause', id);
      const { Parent: parent = '' } = JSON.parse(ctr('snapshots', 'info', id)) as {
        Parent?: string;
      };
      ctr('snapshots', 'view', `${id}-checkpoint`, parent);
      const work = join(node.daemon.root, 'io.containerd.grpc.v1.cri/checkpoints');
      mkdirSync(join(work, `${id}-Ab12Cd/checkpoint`), { recursive: true });
      mkdirSync(join(work, 'of-a-container-that-is-gone-Ab12Cd'));
      await node.daemon.kill('SIGKILL');
      await node[Symbol.asyncDispose]();

      node = await CriNode.start({ directory });
      assert.deepEqual(readdirSync(work), []);
      assert.doesNotMatch(ctr('snapshots', 'ls'), /-checkpoint/);
      const { status } = await node.runtime.containerStatus({ containerId: id });
      assert.equal(status?.state, ContainerState.CONTAINER_RUNNING);
      const { size } = statSync(status.logPath);
      const deadlineMs = performance.now() + 30_000;
      while (statSync(status.logPath).size === size) {
        assert.ok(performance.now() < deadlineMs, 'it is paused');
        await delay(10);
      }
      await node.remove(pod);
      await node[Symbol.asyncDispose]();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  // containerd/containerd 6095, 7247, 9459, 10842: a record that cannot be read, or a name that stays reserved, kept the
  // whole node from starting its pods.
  it('one record that is damaged costs one pod: the others go on, and its name is free', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'daemon-'));
    try {
      let node = await CriNode.start({ directory });
      await node.importImage();
      const badConfig = node.podConfig();
      const { podSandboxId: bad } = await node.runtime.runPodSandbox({ config: badConfig });
      await node.runtime.stopPodSandbox({ podSandboxId: bad });
      const { pod, id } = await node.run('echo first; read line </tmp/never; sleep 100000');
      await node.daemon.kill('SIGKILL');
      await node[Symbol.asyncDispose]();
      const database = new DatabaseSync(join(node.daemon.root, 'metadata.db'));
      const { changes } = database
        .prepare('UPDATE container_extensions SET value = ? WHERE container = ? AND name = ?')
        .run(Buffer.from('{"name":'), bad, 'io.cri-containerd.state');
      assert.equal(Number(changes), 1);
      database.close();

      node = await CriNode.start({ directory });
      const { items } = await node.runtime.listPodSandbox({});
      assert.deepEqual(
        items.map((item) => item.id),
        [pod],
      );
      assert.match(node.daemon.log, /"level":"error".*"take up a sandbox again"/);
      const { stdout } = await node.runtime.execSync({
        containerId: id,
        cmd: ['echo', 'goes on'],
        timeout: 60n,
      });
      assert.equal(Buffer.from(stdout).toString(), 'goes on\n');
      const again = await node.runtime.runPodSandbox({ config: badConfig });
      assert.notEqual(again.podSandboxId, bad);
      for (const podSandboxId of [pod, again.podSandboxId]) await node.remove(podSandboxId);
      await node[Symbol.asyncDispose]();
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
