// CheckpointContainer: an archive of a running container, which runs on; where CRIU works.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { useCriu } from '../fixtures/criu.ts';

describe('checkpoints by the CRI', { skip: skipCri() || useCriu() }, () => {
  let node: CriNode;
  let directory = '';
  let id = '';
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'checkpoint-'));
    node = await CriNode.start();
    ({ id } = await node.run(
      'echo changed >/file; i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.05; done',
    ));
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  const count = async (): Promise<number> => {
    const { stdout } = await node.runtime.execSync({
      containerId: id,
      cmd: ['cat', '/count'],
      timeout: 20n,
    });
    return Number(Buffer.from(stdout).toString());
  };
  const tar = (...args: string[]) => spawnSync('tar', args, { encoding: 'utf8' }).stdout;

  it('the archive has the images of CRIU, what has changed, and what it is of', async () => {
    const location = join(directory, 'new/checkpoint.tar');
    while (!((await count()) > 2));
    await node.runtime.checkpointContainer({ containerId: id, location, timeout: 60n });
    assert.equal(statSync(location).mode & 0o777, 0o600);
    const names = tar('-tf', location).split('\n');
    for (const name of ['checkpoint/inventory.img', 'rootfs-diff.tar', 'spec.dump', 'config.dump'])
      assert.ok(names.includes(name), `${name} in ${names.join(' ')}`);
    const config = JSON.parse(tar('-xOf', location, 'config.dump')) as Record<string, unknown>;
    assert.deepEqual([config['id'], config['name'], config['runtime']], [id, 'main', 'tsrunc']);
    const spec = JSON.parse(tar('-xOf', location, 'spec.dump')) as { process: { args: string[] } };
    assert.equal(spec.process.args[0], '/bin/sh');
    tar('-xf', location, '-C', directory, 'rootfs-diff.tar');
    assert.match(tar('-tf', join(directory, 'rootfs-diff.tar')), /^(\.\/)?file$/m);
    // It runs on.
    const before = await count();
    while ((await count()) <= before);
  });

  it('leaves nothing else, and refuses what cannot be', async () => {
    const work = join(node.daemon.root, 'io.containerd.grpc.v1.cri/checkpoints');
    assert.deepEqual(existsSync(work) ? readdirSync(work) : [], []);
    assert.doesNotMatch(
      node.daemon.ctr('ctr-2.1', ['-n', 'k8s.io', 'snapshots', 'ls']).stdout,
      /-checkpoint/,
    );
    const refused = async (containerId: string, location: string, expected: RegExp) => {
      await assert.rejects(
        node.runtime.checkpointContainer({ containerId, location, timeout: 0n }),
        expected,
      );
    };
    await refused(id, 'relative.tar', /checkpoint container \w+: location "relative.tar"/);
    await refused('none', '/x', /container "none": not found/);
    await node.runtime.stopContainer({ containerId: id, timeout: 0n });
    await refused(id, join(directory, 'x.tar'), /checkpoint container \w+: not running/);
  });
});
