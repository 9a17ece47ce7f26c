// tscontainerd doctor disk: whose the bytes are, while the daemon runs (containerd/containerd 4249, 5879, 7119).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import {
  Content,
  WriteAction,
} from '../../internal/api/generated/containerd.services.content.v1.ts';
import { Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { Snapshots } from '../../internal/api/generated/containerd.services.snapshots.v1.ts';
import { diskUsageText, readDiskUsage } from '../../internal/server/disk-usage.ts';
import { runCtr } from '../fixtures/ctr.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { buildImage } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { peer } from '../peers/index.ts';

const skip = skipWithout('tscontainerd') || peer('ctr-2.1').skip;
const program = join(import.meta.dirname, '../../cmd/tscontainerd/main.ts');
const SPACE = 'default';

test('every byte below the root has its owner, and the lines add up to what du says', {
  skip,
}, async () => {
  await using daemon = await TestDaemon.start('tscontainerd');
  await using registry = await TestRegistry.start();
  const file = (path: string) => ({
    path,
    kind: 'file' as const,
    content: Buffer.alloc(300_000, path),
  });
  const layers = [[file('base')], [file('one')]];
  const one = registry.add(await buildImage({ name: 'unused', layers }), 'one');
  const two = registry.add(
    await buildImage({ name: 'unused', layers: [[file('base')], [file('two')]] }),
    'two',
  );
  for (const ref of [one, two]) {
    const pulled = await runCtr('ctr-2.1', daemon.address, ['images', 'pull', ref]);
    assert.equal(pulled.status, 0, pulled.stderr);
  }
  using connection = new GrpcConnection(daemon.address, SPACE);
  await connection.service(Leases).create({ id: 'kept' });
  const metadata: [string, string][] = [['containerd-lease', 'kept']];
  const snapshotter = 'overlayfs';
  const snapshots = connection.service(Snapshots);
  await snapshots.prepare({ snapshotter, key: 'writable' }, { metadata });
  await connection.service(Containers).create({
    container: { id: 'c', snapshotter, snapshotKey: 'writable', runtime: { name: 'r' } },
  });
  await connection.service(Leases).create({ id: 'other' });
  await snapshots.prepare(
    { snapshotter, key: 'held' },
    { metadata: [['containerd-lease', 'other']] },
  );
  async function* requests() {
    yield { action: WriteAction.WRITE, ref: 'half', total: 10n, data: Buffer.from('half') };
  }
  for await (const _ of connection.service(Content).write(requests(), { metadata })) {
    // Only its end is of interest.
  }

  // The collector may still be at work after the pulls.
  const deadlineMs = performance.now() + 30_000;
  const du = (): number =>
    Number.parseInt(
      spawnSync('du', ['--summarize', '--block-size=1', daemon.root], { encoding: 'utf8' }).stdout,
      10,
    );
  let usage = readDiskUsage(daemon.root);
  let expectedBytes = du();
  while (usage.totalBytes !== expectedBytes && performance.now() < deadlineMs) {
    usage = readDiskUsage(daemon.root);
    expectedBytes = du();
  }
  assert.equal(usage.totalBytes, expectedBytes);
  assert.ok(usage.unpackedLayerBytes > 0);
  const found = new Map(
    usage.shares.map(({ owners, blobs, snapshots: trees }) => [
      owners.join('; '),
      { blobs, trees },
    ]),
  );
  const [image1, image2] = [one, two].map((ref) => `image ${ref} in namespace ${SPACE}`);
  // Manifest, config and a layer of its own each; the lower layer is both images'.
  assert.deepEqual(found.get(String(image1)), { blobs: 3, trees: 1 });
  assert.deepEqual(found.get(String(image2)), { blobs: 3, trees: 1 });
  assert.deepEqual(found.get(`${image1}; ${image2}`), { blobs: 1, trees: 1 });
  assert.deepEqual(
    found.get(`container c in namespace ${SPACE}; lease kept in namespace ${SPACE}`),
    { blobs: 0, trees: 1 },
  );
  assert.deepEqual(found.get(`lease other in namespace ${SPACE}`), { blobs: 0, trees: 1 });
  assert.deepEqual(found.get(`unfinished blob half in namespace ${SPACE}`), { blobs: 0, trees: 0 });
  assert.ok(found.has('the database'));

  const run = spawnSync(process.execPath, [program, '--root', daemon.root, 'doctor', 'disk'], {
    encoding: 'utf8',
  });
  assert.equal(run.stderr, '');
  assert.equal(run.status, 0);
  assert.match(
    run.stdout,
    /^ +\d+\.\d MB {2}image \S+ in namespace default \(3 blobs, 1 snapshot\)$/m,
  );
  assert.match(
    run.stdout,
    /^ +\d+\.\d MB {2}shared: image \S+ in namespace default; image \S+ in namespace default \(1 blob, 1 snapshot\)$/m,
  );
  assert.match(
    run.stdout,
    /^ +\d+\.\d MB {2}in all\n +\d+\.\d MB {2}of it layers that are unpacked/m,
  );

  await connection.service(Images).delete({ name: two, sync: true });
  assert.ok(!diskUsageText(readDiskUsage(daemon.root)).includes(two));

  await daemon.kill('SIGTERM');
  const stray = join(daemon.root, 'io.containerd.snapshotter.v1.overlayfs/snapshots/987654');
  mkdirSync(stray);
  writeFileSync(join(stray, 'file'), Buffer.alloc(100_000));
  const stopped = readDiskUsage(daemon.root);
  assert.equal(stopped.totalBytes, du());
  const strays = stopped.shares.find(({ owners }) => owners[0]?.startsWith('no record'));
  assert.deepEqual(strays?.owners, ['no record: the daemon removes it when it starts']);
  assert.equal(strays?.snapshots, 1);
});

test('a directory without a daemon’s data', () => {
  const run = spawnSync(process.execPath, [program, '--root', '/nonexistent', 'doctor', 'disk'], {
    encoding: 'utf8',
  });
  assert.equal(run.status, 1);
  assert.equal(
    run.stderr,
    'tscontainerd: measure /nonexistent: there is no metadata.db: name the root directory of the daemon with --root\n',
  );
});
