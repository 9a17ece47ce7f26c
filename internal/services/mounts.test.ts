import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GrpcContext } from './context.ts';
import { mountsService } from './mounts.ts';

const context: GrpcContext = {
  scope: { namespace: 'default' },
  namespace: 'default',
  metadata: new Map(),
  signal: new AbortController().signal,
};
const service = mountsService();
const overlay = { type: 'overlay', source: 'overlay', target: '', options: [] };

test('mountsService: a mount that needs no preparation is the client’s to mount', async () => {
  const request = { name: 'm', mounts: [overlay, overlay], labels: new Map(), temporary: false };
  await assert.rejects(service.activate(request, context), {
    kind: 'NotImplemented',
    text: 'activate m: nothing to prepare for overlay: mount it as it is',
  });
});

test('mountsService: nothing is active', async () => {
  await assert.rejects(service.info({ name: 'm' }, context), { kind: 'NotFound' });
  await assert.rejects(service.deactivate({ name: 'm' }, context), { kind: 'NotFound' });
  for await (const info of service.list({ filters: [] }, context)) assert.fail(String(info));
});
