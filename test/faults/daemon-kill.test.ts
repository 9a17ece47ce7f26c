// SIGKILL of the daemon at random moments while clients write: what was acknowledged is there afterwards, what was not is
// either whole or gone, and the collector leaves nothing on disk that no record names.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import {
  Content,
  WriteAction,
} from '../../internal/api/generated/containerd.services.content.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { checkRoot } from '../../internal/server/fsck.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';

/** `SOAK_KILLS=300` is the long form. */
const ROUNDS = Number(process.env['SOAK_KILLS'] ?? 8);
const WRITERS = 3;
const LEASE: [string, string][] = [['containerd-lease', 'kept']];

/** What the daemon acknowledged. */
interface Acknowledged {
  readonly digests: Set<string>;
  readonly containers: Set<string>;
}

/** Writes blobs and containers until the connection breaks. */
async function work(
  connection: GrpcConnection,
  name: string,
  random: SeededRandom,
  acknowledged: Acknowledged,
) {
  const content = connection.service(Content);
  const containers = connection.service(Containers);
  for (let i = 0; ; i++) {
    const data = randomBytes(1 + random.below(300_000));
    const digest = `sha256:${createHash('sha256').update(data).digest('hex')}`;
    const total = BigInt(data.length);
    async function* requests() {
      yield { action: WriteAction.STAT, ref: `${name}-${i}`, total, expected: digest };
      yield { action: WriteAction.WRITE, data };
      yield { action: WriteAction.COMMIT, offset: total, total, expected: digest };
    }
    for await (const { action } of content.write(requests(), { metadata: LEASE })) {
      if (action === WriteAction.COMMIT) acknowledged.digests.add(digest);
    }
    const id = `${name}-${i}`;
    await containers.create({
      container: { id, runtime: { name: 'r' }, labels: [['digest', digest]] },
    });
    acknowledged.containers.add(id);
  }
}

async function checkConsistency(
  connection: GrpcConnection,
  acknowledged: Acknowledged,
): Promise<void> {
  const content = connection.service(Content);
  const listed = new Set<string>();
  for await (const { info } of content.list({})) {
    for (const { digest, size } of info) {
      listed.add(digest);
      const hash = createHash('sha256');
      let bytes = 0n;
      for await (const { data } of content.read({ digest })) {
        hash.update(data);
        bytes += BigInt(data.length);
      }
      assert.equal(`sha256:${hash.digest('hex')}`, digest, 'a visible blob has its digest');
      assert.equal(bytes, size);
    }
  }
  for (const digest of acknowledged.digests) assert.ok(listed.has(digest), `${digest} was lost`);
  const { containers } = await connection.service(Containers).list({});
  const ids = new Set(containers.map(({ id }) => id));
  for (const id of acknowledged.containers) assert.ok(ids.has(id), `container ${id} was lost`);
}

test(`${ROUNDS} kills lose nothing that was acknowledged and leave nothing over`, {
  skip: skipWithout('tscontainerd'),
}, async (context) => {
  const seed = Number(process.env['TEST_SEED'] ?? Date.now() % 1_000_000);
  context.diagnostic(`seed ${seed} (set TEST_SEED to repeat)`);
  const random = new SeededRandom(seed);
  const directory = mkdtempSync(join(tmpdir(), 'daemon-kill-'));
  const acknowledged: Acknowledged = { digests: new Set(), containers: new Set() };
  try {
    for (let round = 0; round < ROUNDS; round++) {
      await using daemon = await TestDaemon.start('tscontainerd', { directory });
      using connection = new GrpcConnection(daemon.address, 'faults');
      if (round === 0) await connection.service(Leases).create({ id: 'kept' });
      await checkConsistency(connection, acknowledged);
      const writers = Array.from({ length: WRITERS }, (_, i) =>
        work(connection, `r${round}w${i}`, random, acknowledged).catch(
          (error: { code?: number }) => error.code,
        ),
      );
      await delay(20 + random.below(400)); // the moment of the kill is what the test varies
      await daemon.kill('SIGKILL');
      // UNAVAILABLE, CANCELLED or INTERNAL: how a broken connection shows.
      for (const code of await Promise.all(writers))
        assert.ok([1, 13, 14].includes(code ?? -1), `code ${code}`);
      const { damage } = await checkRoot(daemon.root, { isDeep: false });
      assert.deepEqual(damage, [], `after kill ${round}`);
    }
    await using daemon = await TestDaemon.start('tscontainerd', { directory });
    using connection = new GrpcConnection(daemon.address, 'faults');
    await checkConsistency(connection, acknowledged);
    context.diagnostic(
      `${acknowledged.digests.size} blobs, ${acknowledged.containers.size} containers`,
    );
    assert.ok(acknowledged.digests.size > ROUNDS, 'something was written');
    const blobs = () =>
      readdirSync(join(daemon.root, 'io.containerd.content.v1.content/blobs/sha256'));
    await connection.service(Leases).delete({ id: 'kept', sync: true });
    assert.deepEqual(blobs(), []);
    assert.deepEqual(readdirSync(join(daemon.root, 'io.containerd.content.v1.content/ingest')), []);
    assert.deepEqual(readdirSync(join(daemon.root, 'io.containerd.content.v1.content/trash')), []);
    assert.deepEqual((await connection.service(Content).listStatuses({})).statuses, []);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
