// A full disk (containerd/containerd 6095, 7247, 9459): calls that write fail and say why, all others go on; the daemon
// starts again on the full disk with all its records; with space, everything works as before.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import {
  Content,
  WriteAction,
} from '../../internal/api/generated/containerd.services.content.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';

const RESOURCE_EXHAUSTED = 8;

/** Clients of a daemon whose root is full. */
function clientsOf(connection: GrpcConnection) {
  const content = connection.service(Content);
  const containers = connection.service(Containers);
  return {
    content,
    containers,
    async write(size: number): Promise<string> {
      const data = randomBytes(size);
      const digest = `sha256:${createHash('sha256').update(data).digest('hex')}`;
      const total = BigInt(size);
      async function* requests() {
        yield { action: WriteAction.WRITE, ref: digest, total, data };
        yield { action: WriteAction.COMMIT, offset: total, total, expected: digest };
      }
      const metadata: [string, string][] = [['containerd-lease', 'kept']];
      for await (const _answer of content.write(requests(), { metadata }));
      return digest;
    },
    async create(id: string, bytes: number): Promise<void> {
      const spec = { typeUrl: 'spec', value: randomBytes(bytes) };
      await containers.create({ container: { id, runtime: { name: 'r' }, spec } });
    },
  };
}

async function untilItFails(
  act: (i: number) => Promise<unknown>,
): Promise<{ code: number; details: string }> {
  for (let i = 0; i < 10_000; i++) {
    try {
      await act(i);
    } catch (error) {
      return error as { code: number; details: string };
    }
  }
  throw new Error('the disk did not fill up');
}

test('a full disk stops writers only, and neither a restart nor recovery', {
  skip: skipWithout('tscontainerd'),
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'daemon-full-disk-'));
  const root = join(directory, 'root');
  mkdirSync(root);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=12m,mode=700', 'tmpfs', root]);
  assert.equal(mounted.status, 0, String(mounted.stderr));
  try {
    let ids: string[];
    let digests: string[];
    const first = await TestDaemon.start('tscontainerd', { directory });
    {
      using connection = new GrpcConnection(first.address, 'full');
      const { containers, content, create, write } = clientsOf(connection);
      await connection.service(Leases).create({ id: 'kept' });
      const blob = await write(100_000);
      await create('early', 1000);
      writeFileSync(join(root, 'ballast'), Buffer.alloc(3 << 20));
      const writing = await untilItFails(() => write(1 << 20));
      assert.equal(writing.code, RESOURCE_EXHAUSTED, writing.details);
      assert.match(
        writing.details,
        /^write ingest sha256:[0-9a-f]{64}: ENOSPC: free disk space: resource exhausted$/,
      );
      const creating = await untilItFails((i) => create(`c${i}`, 30_000));
      assert.equal(creating.code, RESOURCE_EXHAUSTED, creating.details);
      assert.match(
        creating.details,
        /^write metadata database \S+: ENOSPC: free disk space: resource exhausted$/,
      );
      const { container } = await containers.get({ id: 'early' });
      assert.equal(container?.id, 'early');
      let bytes = 0;
      for await (const { data } of content.read({ digest: blob })) bytes += data.length;
      assert.equal(bytes, 100_000);
      ids = (await containers.list({})).containers.map(({ id }) => id);
      digests = [];
      for await (const { info } of content.list({}))
        digests.push(...info.map(({ digest }) => digest));
    }
    await first.kill('SIGKILL');
    await using second = await TestDaemon.start('tscontainerd', { directory });
    using connection = new GrpcConnection(second.address, 'full');
    const { containers, content, create, write } = clientsOf(connection);
    assert.deepEqual(
      (await containers.list({})).containers.map(({ id }) => id),
      ids,
    );
    const kept: string[] = [];
    for await (const { info } of content.list({})) kept.push(...info.map(({ digest }) => digest));
    assert.deepEqual(kept, digests);
    rmSync(join(root, 'ballast'));
    await create('late', 1000);
    await connection.service(Leases).delete({ id: 'kept', sync: true });
    await connection.service(Leases).create({ id: 'kept' });
    await write(1 << 20);
  } finally {
    spawnSync('umount', ['-l', root]);
    rmSync(directory, { recursive: true, force: true });
  }
});
