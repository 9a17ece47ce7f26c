import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { TtrpcServer } from '../../ttrpc/index.ts';
import { TaskDelete } from '../api/generated/containerd.events.ts';
import { Events } from '../api/generated/containerd.services.events.ttrpc.v1.ts';
import { EventPublisher } from './event-publisher.ts';
import { createShimLog } from './log.ts';

test('EventPublisher loses none of ten thousand events that come faster than a daemon takes them', {
  timeout: 60_000,
}, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'events-'));
  const path = join(directory, 'ttrpc.sock');
  const pids: number[] = [];
  const server = new TtrpcServer();
  server.add(Events, {
    forward: async ({ envelope }) => {
      pids.push(TaskDelete.decode(envelope?.event?.value ?? new Uint8Array(0)).pid);
      return {};
    },
  });
  await server.listen(path);
  const lines: string[] = [];
  const events = new EventPublisher(
    path,
    'default',
    createShimLog(false, {}, (line) => lines.push(line)),
  );
  const sent = Array.from({ length: 10_000 }, (_, index) => index);
  for (const pid of sent) events.publish('/tasks/delete', TaskDelete, { containerId: 'c1', pid });
  await events.close(50_000);
  server.close();
  rmSync(directory, { recursive: true });
  assert.deepEqual(pids, sent);
  assert.deepEqual(lines, []);
});

test('EventPublisher keeps no more of an event that waits than its bytes', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const log = createShimLog(false, {}, () => {});
  const events = new EventPublisher('/nonexistent/ttrpc.sock', 'default', log);
  collect();
  const before = process.memoryUsage().arrayBuffers;
  for (let pid = 0; pid < 1_000; pid++) {
    events.publish('/tasks/delete', TaskDelete, { containerId: 'c1', pid });
    for (let other = 0; other < 4; other++) Buffer.allocUnsafe(4_000); // what a shim does between two
  }
  const { pending } = events;
  const kept = () => process.memoryUsage().arrayBuffers - before;
  const deadlineMs = performance.now() + 10_000;
  do {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5)); // V8 frees them in another thread
  } while (kept() > 1 << 20 && performance.now() < deadlineMs);
  await events.close(0);
  assert.equal(pending, 1_000);
  assert.ok(kept() < 1 << 20, `${kept()} bytes for 1,000 events`);
});
