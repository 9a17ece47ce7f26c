// Checkpoints and restores by the CRI that CRIU refuses: its last words are in the error, and its log is there for as long as
// somebody may want to read it. And the collector, which takes nothing of a checkpoint that is being made.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { useCriu } from '../fixtures/criu.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';

describe('checkpoints by the CRI that fail', { skip: skipCri() || useCriu() }, () => {
  let node: CriNode;
  let directory = '';
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'checkpoint-errors-'));
    node = await CriNode.start();
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const tar = (...args: string[]) => {
    const { status, stderr } = spawnSync('tar', args, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  };
  const kept = (): string[] => {
    const path = join(node.daemon.root, 'io.containerd.grpc.v1.cri/criu');
    return existsSync(path) ? readdirSync(path) : [];
  };

  /** Looks that an error has CRIU's words and the path of its log, and returns what is in that. */
  const logOf = (error: unknown, words: RegExp, name: string): string => {
    const { details = '' } = error as { details?: string };
    assert.match(details, words);
    const [, path = ''] = new RegExp(`see (/\\S+/${name})`).exec(details) ?? [];
    assert.ok(existsSync(path), details);
    assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
    return readFileSync(path, 'utf8');
  };

  it('the words of CRIU are in the error of a checkpoint, and its log stays', async () => {
    const { id, pod } = await node.run('echo data >/a; ln /a /b; exec 9</a; rm /a; sleep 1000000');
    const location = join(directory, 'unlinked.tar');
    const isReady = async (): Promise<boolean> => {
      const cmd = ['/bin/sh', '-c', 'test -e /b && test ! -e /a'];
      return (await node.runtime.execSync({ containerId: id, cmd, timeout: 20n })).exitCode === 0;
    };
    while (!(await isReady()));
    const before = kept().length;
    const making = node.runtime.checkpointContainer({ containerId: id, location, timeout: 60n });
    await assert.rejects(making, (error) => {
      const words = /^checkpoint container \w+: .*: criu: .*Use link-remap option.*: see \//;
      assert.match(logOf(error, words, 'dump.log'), /Error \(criu\/.*Use link-remap option/);
      return true;
    });
    assert.equal(kept().length, before + 1);
    assert.equal(existsSync(location), false);
    assert.equal(await isReady(), true, 'it runs on');
    await node.remove(pod);
  });

  it('the words of CRIU are in the error of a restore, and its log stays', async () => {
    const { id, pod } = await node.run('while :; do sleep 0.1; done');
    const location = join(directory, 'whole.tar');
    const before = kept().length;
    await node.runtime.checkpointContainer({ containerId: id, location, timeout: 60n });
    assert.equal(kept().length, before, 'nothing stays of what has succeeded');
    const unpacked = mkdtempSync(join(directory, 'unpacked-'));
    tar('-xf', location, '-C', unpacked);
    rmSync(join(unpacked, 'checkpoint/pages-1.img'));
    const broken = join(directory, 'broken.tar');
    tar('-cf', broken, '-C', unpacked, '.');
    const config = node.containerConfig('restored', '', { image: { image: broken }, command: [] });
    const sandboxConfig = node.podConfig();
    const { podSandboxId } = await node.runtime.runPodSandbox({ config: sandboxConfig });
    const request = { podSandboxId, config, sandboxConfig };
    const { containerId } = await node.runtime.createContainer(request);
    await assert.rejects(node.runtime.startContainer({ containerId }), (error) => {
      const words = /^start container .*: criu: .*read.* bytes.*: see \//;
      assert.match(logOf(error, words, 'restore.log'), /Error \(criu\/.*bytes/);
      return true;
    });
    // Nor does it go with the container.
    await node.runtime.removeContainer({ containerId });
    assert.equal(kept().length, before + 1);
    for (const each of [pod, podSandboxId]) await node.remove(each);
  });

  it('a checkpoint is whole although the collector comes again and again', async () => {
    const { id, pod } = await node.run('head -c 4000000 /dev/urandom >/file; sleep 1000000');
    const location = join(directory, 'collected.tar');
    let isMade = false;
    using connection = new GrpcConnection(node.daemon.address, 'k8s.io');
    const leases = connection.service(Leases);
    const collect = async () => {
      while (!isMade) {
        await leases.create({ id: 'passing' });
        await leases.delete({ id: 'passing', sync: true }); // answered when the collector has been through
      }
    };
    const collecting = collect();
    try {
      for (let round = 0; round < 5; round++) {
        await node.runtime.checkpointContainer({ containerId: id, location, timeout: 60n });
      }
    } finally {
      isMade = true;
      await collecting;
    }
    await node.remove(pod);
  });
});
