// `discard_unpacked_layers`: what is unpacked is not kept twice.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { runCtr } from '../fixtures/ctr.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { buildImage } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { peer } from '../peers/index.ts';

const skip = skipWithout('tscontainerd') || peer('ctr-2.1').skip;

const CONFIG = '[plugins."io.containerd.grpc.v1.cri".containerd]\ndiscard_unpacked_layers = true\n';

// containerd/containerd 5879: the peak of a pull was all layers and all that is in them.
test('discard_unpacked_layers: an unpacked layer goes while others are still on their way', {
  skip,
}, async () => {
  await using daemon = await TestDaemon.start('tscontainerd', { config: CONFIG });
  await using registry = await TestRegistry.start();
  const files = ['a', 'b', 'same', 'same', 'c'];
  const image = await buildImage({
    name: 'unused',
    layers: files.map((path) => [{ path, kind: 'file' as const, content: Buffer.from(path) }]),
  });
  const ref = registry.add(image, 'some/image');
  const [first = '', second = '', same = ''] = image.layerDigests;
  const last = image.layerDigests.at(-1) ?? '';
  let release: (() => void) | undefined;
  registry.misbehave = (request, response) => {
    if (!request.url?.endsWith(last)) return false;
    release = () => response.end(image.blobs.get(last));
    return true;
  };
  const ctr = (...args: string[]) =>
    runCtr('ctr-2.1', daemon.address, ['--namespace', 'k8s.io', ...args]);
  const pull = ctr('images', 'pull', ref);
  const deadlineMs = performance.now() + 20_000;
  const isGone = (digest: string): boolean => {
    const [algorithm = '', hex = ''] = digest.split(':');
    return !existsSync(join(daemon.root, 'io.containerd.content.v1.content/blobs', algorithm, hex));
  };
  while (release === undefined || ![first, second, same].every(isGone)) {
    assert.ok(performance.now() < deadlineMs, 'unpacked layers stay until the pull is done');
    await delay(20); // there is no event for what another process does
  }
  release();
  const { status, stderr } = await pull;
  assert.equal(status, 0, stderr);
  const tree = await ctr('snapshots', 'ls');
  assert.equal(tree.stdout.match(/Committed/g)?.length, files.length, tree.stdout);
});

test('discard_unpacked_layers: of an unpacked image the layers go, and are not fetched again', {
  skip,
}, async () => {
  await using daemon = await TestDaemon.start('tscontainerd', { config: CONFIG });
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
