import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
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
