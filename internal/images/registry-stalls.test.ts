// Hosts on which nothing moves: each gets a time of its own, and what moves, however slowly, is not cut.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { MediaType } from '../oci/index.ts';
import { serveHost } from '../registry/host.fixture.ts';
import { DEFAULT_TIMEOUTS, HttpClient, type HttpTimeouts } from '../registry/registry-http.ts';
import { BlobFetcher } from './blob-fetcher.ts';
import type { Descriptor } from './image-store.ts';
import { openClient, openContent } from './registry.fixture.ts';

const noTls = { isUnverified: false, ca: [], client: undefined };
const impatient: HttpTimeouts = { ...DEFAULT_TIMEOUTS, headMs: 1000, stallMs: 1000 };

async function read(t: TestContext, host: string, timeouts: HttpTimeouts): Promise<number> {
  const http = new HttpClient(noTls, timeouts);
  t.after(() => http.close());
  const request = { method: 'GET', url: `http://${host}/path`, headers: new Map() };
  let bytes = 0;
  for await (const chunk of (await http.send(request)).body) bytes += chunk.length;
  return bytes;
}

test('HttpClient: a host that takes the request and is silent is given up', async (t) => {
  const host = await serveHost(t, () => {});
  await assert.rejects(read(t, host, impatient), {
    kind: 'Unavailable',
    message: `GET http://${host}/path: no answer for 1 s`,
  });
});

for (const [what, bytes, how] of [
  ['stops', 0, 'nothing'],
  ['trickles', 10, 'only \\d+ bytes'],
] as const) {
  test(`HttpClient: a body that ${what} is given up`, async (t) => {
    const host = await serveHost(t, (_request, response) => {
      response.writeHead(200, { 'content-length': 1 << 20 });
      response.write(Buffer.alloc(2048));
      const timer = setInterval(() => response.write(Buffer.alloc(bytes)), 20);
      response.once('close', () => clearInterval(timer));
    });
    await assert.rejects(read(t, host, impatient), (error: { kind?: string; message: string }) => {
      assert.equal(error.kind, 'Unavailable');
      assert.match(error.message, new RegExp(`: ${how} received for 1 s$`));
      return true;
    });
  });
}

test('HttpClient: a body that moves is not cut, however long it takes', async (t) => {
  const pieces = 60;
  const host = await serveHost(t, (_request, response) => {
    let sent = 0;
    const timer = setInterval(() => {
      response.write(Buffer.alloc(DEFAULT_TIMEOUTS.minBytes));
      if (++sent < pieces) return;
      clearInterval(timer);
      response.end();
    }, 50);
  });
  // Three times as long as one stretch.
  const bytes = await read(t, host, { ...impatient, headMs: 30_000 });
  assert.equal(bytes, pieces * DEFAULT_TIMEOUTS.minBytes);
});

for (const what of ['is silent', 'stops in the middle', 'cuts the connection'] as const) {
  test(`BlobFetcher: a mirror that ${what}: the next host goes on, with a time of its own`, async (t) => {
    const layer = randomBytes(100_000);
    const seen = { mirror: 0, registry: 0 };
    const mirror = await serveHost(t, (_request, response) => {
      seen.mirror++;
      if (what === 'is silent') return;
      response.writeHead(200, { 'content-length': layer.length });
      response.write(layer.subarray(0, 40_000), () => {
        if (what === 'cuts the connection') response.destroy();
      });
    });
    const registry = await serveHost(t, (request, response) => {
      seen.registry++;
      const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
      const isPart = from > 0;
      const range = `bytes ${from}-${layer.length - 1}/${layer.length}`;
      response.writeHead(isPart ? 206 : 200, isPart ? { 'content-range': range } : {});
      // As slow as may be: less than what is left of the mirror's time would not do.
      setTimeout(() => response.end(layer.subarray(from)), impatient.headMs / 2);
    });
    const { content, root } = openContent(t);
    const hostDir = join(root, 'certs.d');
    const directory = join(hostDir, `${registry.replace(':', '_')}_`);
    mkdirSync(directory, { recursive: true });
    const toml = `server = "http://${registry}"\n[host."http://${mirror}"]\n`;
    writeFileSync(join(directory, 'hosts.toml'), toml);
    const client = await openClient(t, registry, { hostDir, timeouts: impatient });
    const blob: Descriptor = {
      mediaType: MediaType.dockerGzipLayer,
      digest: `sha256:${createHash('sha256').update(layer).digest('hex')}`,
      sizeBytes: layer.length,
      annotations: new Map(),
    };
    const scope = { namespace: 'default' };
    await new BlobFetcher(content).fetch(scope, client, blob, { moved: () => undefined });
    assert.equal((await content.info(scope, blob.digest)).sizeBytes, layer.length);
    assert.equal(seen.mirror, 1, 'the mirror is not asked again');
    assert.ok(seen.registry >= 1);
  });
}
