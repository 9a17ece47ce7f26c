// The daemon is killed at some moment of a pull, an import (by the daemon, or by the client with its unpacking), or the
// creation of a container with its snapshot; started again, it goes on: nothing is missing, nothing is left over.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { checkRoot } from '../../internal/server/fsck.ts';
import { runCtr } from '../fixtures/ctr.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { waitUntilNothingIsLeft } from '../fixtures/leftovers.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { peer } from '../peers/index.ts';

const skip = skipWithout('tscontainerd') || peer('ctr-2.1').skip;
/** `SOAK_KILLS=300` is the long form. */
const KILLS = Number(process.env['SOAK_KILLS'] ?? 12);
/** A pull of the image below takes about this long. */
const PULL_MS = 700;

test(`${KILLS} kills at random moments of pulls, imports, unpacks and container creations`, {
  skip,
}, async (t) => {
  const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`TEST_SEED=${seed}`);
  const random = new SeededRandom(seed);
  const directory = mkdtempSync(join(tmpdir(), 'killed-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  await using registry = await TestRegistry.start();
  const image = await buildImage({
    name: 'example.com/archive:1',
    layers: [0, 1, 2, 3].map((layer) =>
      Array.from({ length: 300 }, (_, i) => ({
        path: `${layer}-${i}`,
        kind: 'file' as const,
        content: createHash('sha512').update(`${layer} ${i}`).digest(),
      })),
    ),
  });
  const ref = registry.add(image, 'some/image');
  const archive = join(directory, 'image.tar');
  writeFileSync(archive, await imageArchive(image));
  const works = [
    ['images', 'pull', ref],
    ['images', 'import', archive],
    ['images', 'import', '--local', archive],
    ['containers', 'create', ref, 'c', '/none'],
  ];

  for (let i = 0; i < KILLS; i++) {
    await using daemon = await TestDaemon.start('tscontainerd', { directory });
    // A container is made from an image that is there if a round before has pulled it.
    const work = works[random.below(works.length)] ?? [];
    const running = runCtr('ctr-2.1', daemon.address, work);
    await delay(random.below(PULL_MS));
    await daemon.kill('SIGKILL');
    await running; // it fails, or was done already
    const { damage } = await checkRoot(daemon.root, { isDeep: true });
    assert.deepEqual(damage, [], `after kill ${i} of ${work.join(' ')}`);
  }

  await using daemon = await TestDaemon.start('tscontainerd', { directory });
  const ctr = async (...args: string[]): Promise<string> => {
    const result = await runCtr('ctr-2.1', daemon.address, args);
    assert.equal(result.status, 0, result.stderr);
    return result.stdout;
  };
  await ctr('images', 'pull', ref);
  checkBlobs(daemon);
  const target = join(directory, 'mounted');
  execFileSync('mkdir', [target]);
  await ctr('images', 'mount', ref, target);
  assert.equal(readdirSync(target).length, 1200);
  await ctr('images', 'unmount', '--rm', target);
  // Clients that lost the daemon could not delete their leases; these hold nothing of a failed pull.
  const images = (await ctr('images', 'ls', '-q')).split('\n').filter(Boolean);
  const containers = (await ctr('containers', 'ls', '-q')).split('\n').filter(Boolean);
  for (const id of containers) await ctr('containers', 'rm', id);
  await ctr('images', 'rm', '--sync', ...images);
  const leases = (await ctr('leases', 'ls', '-q')).split('\n').filter(Boolean);
  for (const id of leases) await ctr('leases', 'rm', '--sync', id);
  await waitUntilNothingIsLeft(daemon);
});

/** Every blob on disk has the digest that it is named after. */
function checkBlobs(daemon: TestDaemon): void {
  const blobs = join(daemon.root, 'io.containerd.content.v1.content/blobs/sha256');
  for (const name of readdirSync(blobs)) {
    const hex = createHash('sha256')
      .update(readFileSync(join(blobs, name)))
      .digest('hex');
    assert.equal(hex, name);
  }
}
