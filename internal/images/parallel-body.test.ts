import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { MediaType } from '../oci/index.ts';
import { serveHost } from '../registry/host.fixture.ts';
import type { RegistryClient } from '../registry/registry-client.ts';
import type { Descriptor } from './image-store.ts';
import { openBlob, type ParallelOptions } from './parallel-body.ts';
import { openClient } from './registry.fixture.ts';

const content = randomBytes(1 << 20);
const blob: Descriptor = {
  mediaType: MediaType.dockerGzipLayer,
  digest: `sha256:${createHash('sha256').update(content).digest('hex')}`,
  sizeBytes: content.length,
  annotations: new Map(),
};
const options: ParallelOptions = { connections: 4, partBytes: 100_000, fromBytes: 200_000 };

type Answer = (
  range: { start: number; end: number } | undefined,
  response: ServerResponse,
  request: IncomingMessage,
) => void;

function sendRange(
  range: { start: number; end: number } | undefined,
  response: ServerResponse,
): void {
  const { start, end } = range ?? { start: 0, end: content.length };
  if (range !== undefined) {
    response.setHeader('content-range', `bytes ${start}-${end - 1}/${content.length}`);
  }
  response.writeHead(range === undefined ? 200 : 206, { 'content-length': end - start });
  response.end(content.subarray(start, end));
}

async function clientOf(t: TestContext, answer: Answer): Promise<RegistryClient> {
  const host = await serveHost(t, (request, response) => {
    const [, from, to = ''] = /^bytes=([0-9]+)-([0-9]*)$/.exec(request.headers.range ?? '') ?? [];
    const end = to === '' ? content.length : Number(to) + 1;
    answer(from === undefined ? undefined : { start: Number(from), end }, response, request);
  });
  return await openClient(t, host);
}

async function readAll(client: RegistryClient, offset = 0): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of (await openBlob(client, blob, offset, options)).body)
    chunks.push(chunk);
  return Buffer.concat(chunks);
}

test('openBlob: ranges come side by side and are handed on in order', async (t) => {
  let open = 0;
  let most = 0;
  const waiting: (() => void)[] = [];
  const client = await clientOf(t, (range, response) => {
    most = Math.max(most, ++open);
    response.once('finish', () => open--);
    const send = (): void => sendRange(range, response);
    // The first of four answers last: those after it wait for it, not the other way round.
    if (range !== undefined && (range.start / options.partBytes) % 4 === 0 && range.start > 0) {
      waiting.push(send);
      setImmediate(() => waiting.shift()?.());
    } else send();
  });
  assert.ok((await readAll(client)).equals(content));
  assert.ok(most > 1, 'ranges were fetched one by one');
  assert.ok(most <= options.connections, `${most} connections`);
});

test('openBlob: from an offset on', async (t) => {
  const client = await clientOf(t, sendRange);
  assert.ok((await readAll(client, 300_001)).equals(content.subarray(300_001)));
});

test('openBlob: a range that is cut is resumed where it was', async (t) => {
  const starts: number[] = [];
  const client = await clientOf(t, (range, response) => {
    const { start, end } = range ?? { start: -1, end: -1 };
    starts.push(start);
    if (start !== 300_000) return sendRange(range, response);
    response.setHeader('content-range', `bytes ${start}-${end - 1}/${content.length}`);
    response.writeHead(206, { 'content-length': end - start });
    response.write(content.subarray(start, start + 50_000), () => response.destroy());
  });
  assert.ok((await readAll(client)).equals(content));
  assert.ok(
    starts.some((start) => start > 300_000 && start < 400_000),
    starts.join(),
  );
});

test('openBlob: a host without ranges sends all of it, once', async (t) => {
  let requests = 0;
  const client = await clientOf(t, (_range, response) => {
    requests++;
    sendRange(undefined, response);
  });
  assert.ok((await readAll(client)).equals(content));
  assert.equal(requests, 1);
});

test('openBlob: a small blob, and one connection, need no ranges', async (t) => {
  const ranges: unknown[] = [];
  const client = await clientOf(t, (range, response) => {
    ranges.push(range);
    sendRange(range, response);
  });
  for (const change of [{ fromBytes: content.length + 1 }, { connections: 1 }]) {
    const body = await openBlob(client, blob, 0, { ...options, ...change });
    for await (const _ of body.body);
  }
  assert.deepEqual(ranges, [undefined, undefined]);
});

test('openBlob: a host that fails for good ends the whole, and nothing runs on', async (t) => {
  let open = 0;
  const client = await clientOf(t, (range, response, request) => {
    open++;
    request.socket.once('close', () => open--);
    if (range?.start === 500_000) response.writeHead(404).end();
    else sendRange(range, response);
  });
  await assert.rejects(readAll(client), { kind: 'NotFound', message: /404 Not Found$/ });
});

test('openBlob: who stops reading ends the requests', async (t) => {
  const closed: Promise<unknown>[] = [];
  const client = await clientOf(t, (range, response) => {
    if (range?.start === 0) return sendRange(range, response);
    closed.push(new Promise((resolve) => response.once('close', resolve)));
    response.writeHead(206, {
      'content-range': `bytes ${range?.start}-${(range?.end ?? 0) - 1}/${content.length}`,
    });
    response.write(Buffer.alloc(10)); // and then nothing
  });
  const { body } = await openBlob(client, blob, 0, options);
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes >= options.partBytes) break;
  }
  await Promise.all(closed);
});
