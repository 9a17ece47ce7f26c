// `discard_unpacked_layers`: what is unpacked is not kept twice.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runCtr } from '../fixtures/ctr.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { buildImage } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { peer } from '../peers/index.ts';

const skip = skipWithout('tscontainerd') || peer('ctr-2.1').skip;

test('discard_unpacked_layers: of an unpacked image the layers go, and are not fetched again', {
  skip,
}, async () => {
  const config =
    '[plugins."io.containerd.grpc.v1.cri".containerd]\ndiscard_unpacked_layers = true\n';
  await using daemon = await TestDaemon.start('tscontainerd', { config });
  await using registry = await TestRegistry.start();
  const image = await buildImage({
    name: 'unused',
    layers: ['a', 'b'].map((path) => [{ path, kind: 'file' as const, content: Buffer.from(path) }]),
  });
  const ref = registry.add(image, 'some/image');
  const run = async (...args: string[]): Promise<string> => {
    const result = await runCtr('ctr-2.1', daemon.address, ['--namespace', 'k8s.io', ...args]);
    assert.equal(result.status, 0, result.stderr);
    return result.stdout;
  };
  await run('images', 'pull', ref);
  const digests = async (): Promise<string[]> =>
    (await run('content', 'ls', '-q')).split('\n').filter(Boolean).sort();
  const wanted = [image.manifestDigest, image.configDigest].sort();
  const deadlineMs = performance.now() + 20_000;
  // The collector runs by itself soon after the pull.
  while ((await digests()).length > wanted.length && performance.now() < deadlineMs);
  assert.deepEqual(await digests(), wanted);
  registry.seen.length = 0;
  await run('images', 'pull', ref);
  const layers = registry.seen.filter(({ path }) =>
    image.layerDigests.some((digest) => path.endsWith(digest)),
  );
  assert.deepEqual(layers, []);
  const tree = await run('snapshots', 'ls');
  assert.equal(tree.match(/Committed/g)?.length, 2, tree);
});
