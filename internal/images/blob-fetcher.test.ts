import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { MediaType } from '../oci/index.ts';
import { serveHost } from '../registry/host.fixture.ts';
import { BlobFetcher } from './blob-fetcher.ts';
import type { Descriptor } from './image-store.ts';
import { openClient, openContent } from './registry.fixture.ts';

test('BlobFetcher: a registry that is not available is asked as often as the policy says', async (t) => {
  let requests = 0;
  const host = await serveHost(t, (_request, response) => {
    requests++;
    response.writeHead(503).end();
  });
  const client = await openClient(t, host);
  const { content } = openContent(t);
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
