// A disk that takes half a second for each sync (containerd/containerd 8698, 8980): writers wait for it, and nobody else.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import {
  Content,
  WriteAction,
} from '../../internal/api/generated/containerd.services.content.v1.ts';
import { Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { peer } from '../peers/index.ts';

const SYNC_DELAY_MS = 500;
const WRITERS = 8;
const CALLS = 60;

const strace = peer('strace');
const skip = skipWithout('tscontainerd') || strace.skip;
// -D: strace is not the parent of the daemon, which so gets the signals of the test.
const wrapper = [
  ...[
    strace.path,
    '-D',
    '-f',
    '-qq',
    '-o',
    '/dev/null',
    '--seccomp-bpf',
    '-e',
    'trace=fsync,fdatasync',
  ],
  ...['-e', `inject=fsync,fdatasync:delay_exit=${SYNC_DELAY_MS * 1000}`],
];

function blob(size: number) {
  const data = randomBytes(size);
  return { data, digest: `sha256:${createHash('sha256').update(data).digest('hex')}` };
}

test('calls that write nothing to disk do not wait for syncs', { skip }, async (context) => {
  await using daemon = await TestDaemon.start('tscontainerd', { wrapper });
  using connection = new GrpcConnection(daemon.address, 'slow');
  const content = connection.service(Content);
  const containers = connection.service(Containers);
  const images = connection.service(Images);
  await connection.service(Leases).create({ id: 'kept' });
  const write = async (size: number): Promise<string> => {
    const { data, digest } = blob(size);
    const total = BigInt(size);
    async function* requests() {
      yield { action: WriteAction.WRITE, ref: digest, total, data };
      yield { action: WriteAction.COMMIT, offset: total, total, expected: digest };
    }
    const metadata: [string, string][] = [['containerd-lease', 'kept']];
    for await (const _answer of content.write(requests(), { metadata }));
    return digest;
  };
  const startedMs = performance.now();
  const known = await write(100_000);
  const oneWriteMs = performance.now() - startedMs;
  assert.ok(
    oneWriteMs >= SYNC_DELAY_MS,
    `a sync takes ${SYNC_DELAY_MS} ms, a write took ${oneWriteMs}`,
  );
  await containers.create({ container: { id: 'c', runtime: { name: 'r' } } });

  let isDone = false;
  const writing = Promise.all(
    Array.from({ length: WRITERS }, async () => {
      while (!isDone) await write(10_000);
    }),
  );
  const waits: number[] = [];
  for (let i = 0; i < CALLS; i++) {
    const before = performance.now();
    await containers.get({ id: 'c' });
    await containers.update({
      container: { id: 'c', labels: [['n', String(i)]] },
      updateMask: { paths: ['labels.n'] },
    });
    await images.list({});
    for await (const _part of content.read({ digest: known }));
    waits.push(performance.now() - before);
    await delay(20); // spread over several rounds of syncs
  }
  isDone = true;
  await writing;
  waits.sort((a, b) => a - b);
  const worst = waits.at(-1) ?? 0;
  context.diagnostic(
    `median ${waits[CALLS / 2]?.toFixed(1)} ms, worst ${worst.toFixed(1)} ms of ${CALLS} rounds of four calls`,
  );
  assert.ok(worst < SYNC_DELAY_MS, `a call waited ${worst} ms`);
});
