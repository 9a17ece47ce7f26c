// CheckpointContainer: an archive of a running container, which runs on; where CRIU works.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
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
      'echo changed >/file; echo logged; i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.05; done',
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
    for (const name of [
      ...['checkpoint/inventory.img', 'rootfs-diff.tar', 'spec.dump', 'config.dump'],
      ...['status.dump', 'container.log', 'stats-dump', 'dump.log'],
    ])
      assert.ok(names.includes(name), `${name} in ${names.join(' ')}`);
    const config = JSON.parse(tar('-xOf', location, 'config.dump')) as Record<string, unknown>;
    assert.deepEqual([config['id'], config['name'], config['runtime']], [id, 'main', 'tsrunc']);
    const spec = JSON.parse(tar('-xOf', location, 'spec.dump')) as { process: { args: string[] } };
    assert.equal(spec.process.args[0], '/bin/sh');
    tar('-xf', location, '-C', directory, 'rootfs-diff.tar');
    assert.match(tar('-tf', join(directory, 'rootfs-diff.tar')), /^(\.\/)?file$/m);
    assert.match(tar('-xOf', location, 'container.log'), /^\S+ stdout F logged\n$/);
    // It runs on.
    const before = await count();
    while ((await count()) <= before);
  });

  it('a link in the place of the log is not followed', async () => {
    const { status } = await node.runtime.containerStatus({ containerId: id });
    const log = status?.logPath ?? '';
    const location = join(directory, 'linked.tar');
    renameSync(log, `${log}.kept`);
    symlinkSync('/etc/passwd', log);
    try {
      await assert.rejects(
        node.runtime.checkpointContainer({ containerId: id, location, timeout: 60n }),
        (error: Error) => error.message.includes(`read ${log}: ELOOP`),
      );
      assert.equal(existsSync(location), false);
    } finally {
      renameSync(`${log}.kept`, log);
    }
  });

  it('an archive is not restored: neither its spec nor its names count', async () => {
    const location = join(directory, 'new/checkpoint.tar');
    assert.ok(existsSync(location));
    await assert.rejects(node.run('true', { image: { image: location } }), {
      code: 5,
      details:
        `create container main: image "${location}": ` +
        'give the name of an image: containers are not restored from archives: not found',
    });
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
