import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LocalContentStore } from '../content/local-content-store.ts';
import { LocalExchange } from '../events/local-exchange.ts';
import { Database } from '../metadata/database.ts';
import { BlobFetcher } from './blob-fetcher.ts';
import type { Descriptor } from './image-store.ts';
import { MediaType } from './media-type.ts';
import { RegistryClient } from './registry-client.ts';

test('BlobFetcher: a registry that is not available is asked as often as the policy says', async (t) => {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests++;
    response.writeHead(503).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const root = mkdtempSync(join(tmpdir(), 'blob-fetcher-'));
  const database = new Database(join(root, 'metadata.db'));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const options = {
    reference: `${host}/some/image:latest`,
    credentials: async () => undefined,
    headers: new Map<string, string>(),
    hostDir: '',
    defaultScheme: '',
    retry: { attempts: 3, baseDelayMs: 1, maxDelayMs: 5 },
  };
  const client = await RegistryClient.open(options, 'pull');
  t.after(() => {
    client.close();
    server.closeAllConnections();
    server.close();
    database.close();
    rmSync(root, { recursive: true });
  });
  const gc = { schedule: () => undefined };
  const content = new LocalContentStore(join(root, 'content'), database, new LocalExchange(), gc);
  const blob: Descriptor = {
    mediaType: MediaType.dockerGzipLayer,
    digest: `sha256:${createHash('sha256').update('layer').digest('hex')}`,
    sizeBytes: 5,
    annotations: new Map(),
  };
  const fetcher = new BlobFetcher(content);
  const url = `http://${host}/v2/some/image/blobs/${blob.digest}`;
  await assert.rejects(
    fetcher.fetch({ namespace: 'default' }, client, blob, { moved: () => undefined }),
    {
      kind: 'Unavailable',
      message: `fetch layer-${blob.digest}: GET ${url}: 503 Service Unavailable`,
    },
  );
  assert.equal(requests, 3);
});
