// `ctr tasks checkpoint`, `ctr containers checkpoint` and `restore` over our daemon, with CRIU: a counter goes on counting in
// another container, from an image that holds its memory and its files; and what is no checkpoint is refused.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { Tasks } from '../../internal/api/generated/containerd.services.tasks.v1.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { removeNamespaceTraces } from '../fixtures/namespace-traces.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { shimKinds } from '../fixtures/tasks.ts';
import { peer } from '../peers/index.ts';

const withoutCriu = useCriu();
const [criuPath = ''] = (process.env['PATH'] ?? '').split(':');
const KINDS = shimKinds().filter(({ name }) => !/1\.6|with tsrunc|in-process/.test(name));
const IMAGE = 'example.com/box:1';
const COUNTER = 'i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.05; done';

for (const kind of KINDS) {
  const skip = skipWithout('tscontainerd') || withoutCriu || kind.skip || peer('ctr-2.1').skip;
  test(`${kind.name}: a counter in a checkpoint image goes on in another container`, {
    skip,
  }, async () => {
    const env = { PATH: `${criuPath}:${kind.path}` };
    await using daemon = await TestDaemon.start('tscontainerd', { env });
    const namespace = `checkpoint${process.pid}`;
    const ctr = (...args: string[]) => daemon.ctr('ctr-2.1', ['-n', namespace, ...args]);
    const call = (...args: string[]): string => {
      const { status, stdout, stderr } = ctr(...args);
      assert.equal(status, 0, `ctr ${args.join(' ')}: ${stderr}`);
      return stdout;
    };
    let execs = 0;
    const count = (id: string): number => {
      return Number(call('tasks', 'exec', '--exec-id', `e${execs++}`, id, '/bin/cat', '/count'));
    };
    const untilAbove = async (id: string, number: number): Promise<number> => {
      const deadlineMs = performance.now() + 30_000;
      for (let seen = count(id); ; seen = count(id)) {
        if (seen > number) return seen;
        assert.ok(performance.now() < deadlineMs, `the counter of ${id} stays at ${seen}`);
        await delay(50); // a container has no event for what it writes
      }
    };
    const archive = join(daemon.directory, 'image.tar');
    const layers = [busyboxRootfs().entries];
    writeFileSync(archive, await imageArchive(await buildImage({ name: IMAGE, layers })));
    call('images', 'import', archive);
    const annotations = Object.entries(criuAnnotations(daemon.directory)).flatMap(
      ([key, value]) => ['--annotation', `${key}=${value}`],
    );
    const run = ['run', '-d', '--runtime', kind.runtime, ...annotations];
    call(...run, IMAGE, 'one', '/bin/sh', '-c', COUNTER);
    try {
      await untilAbove('one', 5);
      // Into a directory of the client's: no content.
      const files = join(daemon.directory, 'files');
      mkdirSync(files);
      call('tasks', 'checkpoint', '--image-path', files, 'one');
      assert.ok(existsSync(join(files, 'inventory.img')));
      const before = count('one');
      call('containers', 'checkpoint', '--rw', '--image', '--task', 'one', 'example.com/saved:1');
      call('tasks', 'rm', '--force', 'one');
      call('containers', 'rm', 'one');
      call('containers', 'restore', '--rw', '--live', 'two', 'example.com/saved:1');
      const after = await untilAbove('two', before);
      assert.ok(after < before + 500, `${after} after ${before}: it has not begun anew`);
      call('tasks', 'rm', '--force', 'two');
      call('containers', 'rm', 'two');
    } finally {
      for (const id of ['one', 'two']) ctr('tasks', 'rm', '--force', id);
      removeNamespaceTraces(namespace);
    }
    // Of the files on their way nothing is left, nor of those that were restored from.
    const work = join(daemon.root, 'io.containerd.runtime.v2.task', namespace);
    assert.deepEqual(
      [join(daemon.root, 'checkpoints'), work].flatMap((path) =>
        existsSync(path) ? readdirSync(path) : [],
      ),
      [],
    );
  });
}

test('a checkpoint that is none is refused, and nothing is left of the task', {
  skip: skipWithout('tscontainerd'),
}, async () => {
  const [kind] = shimKinds().filter(({ name }) => name === 'containerd-shim-tsrunc-v2');
  await using daemon = await TestDaemon.start('tscontainerd');
  using grpc = new GrpcConnection(daemon.address, 'default');
  const runtime = { name: kind?.runtime ?? '' };
  const spec = { typeUrl: 'x', value: Buffer.from('{}') };
  await grpc.service(Containers).create({ container: { id: 'c', runtime, spec } });
  const digest = `sha256:${'0'.repeat(64)}`;
  const tasks = grpc.service(Tasks);
  // Without the shim on PATH the runtime is what is complained of first.
  const create = (mediaType: string) =>
    tasks.create({
      containerId: 'c',
      runtimePath: process.execPath,
      checkpoint: { mediaType, digest, size: 1n },
    });
  await assert.rejects(create('application/vnd.oci.image.layer.v1.tar'), {
    code: 3,
    details: `unsupported checkpoint type "application/vnd.oci.image.layer.v1.tar" of ${digest}: invalid argument`,
  });
  await assert.rejects(create('application/vnd.containerd.container.criu.checkpoint.criu.tar'), {
    code: 5,
    details: new RegExp(`^unpack checkpoint ${digest}: .*not found$`),
  });
  const bundles = join(daemon.state, 'io.containerd.runtime.v2.task/default');
  assert.deepEqual(readdirSync(bundles), []);
});
