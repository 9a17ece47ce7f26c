// Pulls of one image that are cancelled at random moments, while others go on and the collector runs: those that were not
// cancelled succeed, and nothing is left of the cancelled ones.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { runCtr } from '../fixtures/ctr.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { leftovers, waitUntilNothingIsLeft } from '../fixtures/leftovers.ts';
import { buildImage } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { peer } from '../peers/index.ts';

const skip = skipWithout('tscontainerd') || peer('ctr-2.1').skip;
const ROUNDS = 12;
/** A pull of the image below takes about this long. */
const PULL_MS = 400;

test(`${ROUNDS} rounds of pulls, cancellations and collections`, { skip }, async (t) => {
  const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
  t.diagnostic(`TEST_SEED=${seed}`);
  const random = new SeededRandom(seed);
  await using registry = await TestRegistry.start();
  await using daemon = await TestDaemon.start('tscontainerd');
  const image = await buildImage({
    name: 'unused',
    layers: [0, 1, 2].map((layer) =>
      Array.from({ length: 200 }, (_, i) => ({
        path: `${layer}-${i}`,
        kind: 'file' as const,
        content: createHash('sha512').update(`${layer} ${i}`).digest(),
      })),
    ),
  });
  const ref = registry.add(image, 'some/image');
  const ctr = (args: string[], signal?: AbortSignal) =>
    runCtr('ctr-2.1', daemon.address, args, signal);
  const cancelled = async (): Promise<void> => {
    const client = new AbortController();
    const pull = ctr(['images', 'pull', ref], client.signal);
    await delay(random.below(PULL_MS));
    client.abort();
    await pull;
  };
  const collection = async (): Promise<void> => {
    await delay(random.below(PULL_MS));
    // Removing what is not there collects all the same.
    await ctr(['images', 'rm', '--sync', 'example.com/absent:1']);
  };

  for (let round = 0; round < ROUNDS; round++) {
    const [whole] = await Promise.all([
      ctr(['images', 'pull', ref]),
      cancelled(),
      cancelled(),
      collection(),
    ]);
    assert.equal(whole.status, 0, `round ${round}: ${whole.stderr}`);
    const { content, snapshots } = await leftovers(daemon);
    for (const digest of image.blobs.keys()) assert.ok(content.includes(digest), `round ${round}`);
    assert.ok(snapshots.length >= 3, `round ${round}: ${snapshots}`);
    const removed = await ctr(['images', 'rm', '--sync', ref]);
    assert.equal(removed.status, 0, removed.stderr);
  }
  // Clients that were killed could not delete their leases; these hold at most a finished pull.
  for (const id of (await leftovers(daemon)).leases) await ctr(['leases', 'rm', '--sync', id]);
  await ctr(['images', 'rm', '--sync', ref]);
  await waitUntilNothingIsLeft(daemon);
});
