// `ctr images pull` from a registry that refuses, lies or breaks off: one line says why, and nothing is left behind.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { runCtr } from '../fixtures/ctr.ts';
import { leftovers, waitUntilNothingIsLeft } from '../fixtures/leftovers.ts';
import { ok, PullSuite, skipPulls } from '../fixtures/pull-suite.ts';
import { refuse } from '../fixtures/registry.ts';

const suite = PullSuite.define();

/** Status, code and text of the registry's answer; the message, the advice (for a layer too), containerd's class. */
const refusals: [
  number,
  string,
  string,
  string,
  (host: string, isLayer: boolean) => string,
  string,
][] = [
  [
    401,
    'UNAUTHORIZED',
    'authentication required',
    '401 Unauthorized: authentication required',
    (host) =>
      `: log in to ${host} (ctr: --user, Kubernetes: imagePullSecrets), and check the image's name`,
    ': unauthorized',
  ],
  [
    403,
    'DENIED',
    'requested access to the resource is denied',
    '403 Forbidden: requested access to the resource is denied',
    () => ": check the image's name, and that the user may read it",
    ': permission denied',
  ],
  [
    404,
    'MANIFEST_UNKNOWN',
    'manifest unknown',
    '404 Not Found: manifest unknown',
    (_host, isLayer) =>
      isLayer
        ? ': the registry lacks a part of the image: push the image again'
        : ": check the image's name and tag",
    ': not found',
  ],
  [418, 'TEAPOT', 'short and stout', '418: short and stout', () => '', ''],
  [
    429,
    'TOOMANYREQUESTS',
    'slow down',
    '429 Too Many Requests',
    (host) => `: wait, log in to ${host} for a higher limit, or set up a mirror in certs.d`,
    ': unavailable',
  ],
  ...[
    [500, 'it broke', '500 Internal Server Error'] as const,
    [503, 'come back', '503 Service Unavailable'] as const,
  ].map(([status, reason, shown]): (typeof refusals)[number] => [
    status,
    'UNKNOWN',
    reason,
    shown,
    (host) => `: try later, or see the log of the registry ${host} or of the proxy before it`,
    ': unavailable',
  ]),
];
for (const [status, code, reason, message, advice, kind] of refusals) {
  test(`a registry that answers ${status} for the manifest`, { skip: skipPulls }, async () => {
    const ref = suite.registry.add(suite.image, 'some/image');
    suite.registry.misbehave = (_request, response) => {
      response.setHeader('retry-after', '0');
      refuse(response, status, code, reason);
      return true;
    };
    const url = `http://${suite.registry.host}/v2/some/image/manifests/latest`;
    // A passing error is told of the HEAD, whose answer has no text.
    const said =
      status === 429 || status >= 500 ? `HEAD ${url}: ${message}` : `GET ${url}: ${message}`;
    await suite.refusedPull(
      [ref],
      `ctr: pull ${ref}: ${said}${advice(suite.registry.host, false)}${kind}`,
    );
  });

  test(`a registry that answers ${status} for a layer`, { skip: skipPulls }, async () => {
    const ref = suite.registry.add(suite.image, 'some/image');
    const [, layer = ''] = suite.image.layerDigests;
    suite.registry.misbehave = (request, response) => {
      if (!request.url?.endsWith(layer)) return false;
      response.setHeader('retry-after', '0');
      refuse(response, status, code, reason);
      return true;
    };
    const url = `http://${suite.registry.host}/v2/some/image/blobs/${layer}`;
    const text = message.endsWith(reason) ? message : `${message}: ${reason}`;
    await suite.refusedPull(
      [ref],
      `ctr: pull ${ref}: fetch layer-${layer}: GET ${url}: ${text}${advice(suite.registry.host, true)}${kind}`,
    );
  });
}

test('a registry that is busy at first is asked again', { skip: skipPulls }, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  let refused = 0;
  suite.registry.misbehave = (request, response) => {
    if (!suite.isLayer(request.url) || refused >= 2) return false;
    refused++;
    response.setHeader('retry-after', '1');
    refuse(response, 429, 'TOOMANYREQUESTS', 'slow down');
    return true;
  };
  const startMs = performance.now();
  ok(await suite.ctr('images', 'pull', ref));
  assert.equal(refused, 2);
  assert.ok(performance.now() - startMs >= 1000, 'Retry-After was not waited for');
});

/** Sends half of a blob and cuts the connection. */
function breakOff(response: ServerResponse, content: Buffer): void {
  response.writeHead(200, { 'content-length': content.length });
  response.write(content.subarray(0, content.length >> 1), () => response.destroy());
}

test('a connection that is cut is resumed where it was', { skip: skipPulls }, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  const [layer = ''] = suite.image.layerDigests;
  let cuts = 0;
  suite.registry.misbehave = (request, response) => {
    if (!request.url?.endsWith(layer) || cuts > 0) return false;
    cuts++;
    breakOff(response, suite.image.blobs.get(layer) ?? Buffer.alloc(0));
    return true;
  };
  ok(await suite.ctr('images', 'pull', ref));
  const ranges = suite.registry.seen
    .filter(({ path }) => path.endsWith(layer))
    .map(({ range }) => range);
  assert.equal(ranges.length, 2);
  assert.equal(ranges[0], undefined);
  assert.match(ranges[1] ?? '', /^bytes=[1-9][0-9]*-$/);
});

test('a host that does not know ranges sends all again', { skip: skipPulls }, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  const [layer = ''] = suite.image.layerDigests;
  const content = suite.image.blobs.get(layer) ?? Buffer.alloc(0);
  let cuts = 0;
  suite.registry.misbehave = (request, response) => {
    if (!request.url?.endsWith(layer)) return false;
    if (cuts++ === 0) breakOff(response, content);
    else response.writeHead(200, { 'content-length': content.length }).end(content);
    return true;
  };
  ok(await suite.ctr('images', 'pull', ref));
});

test('a registry that always breaks off', { skip: skipPulls }, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  suite.registry.misbehave = (request, response) => {
    if (!suite.isLayer(request.url)) return false;
    response.writeHead(200, { 'content-length': 1000 });
    response.flushHeaders();
    response.destroy();
    return true;
  };
  await suite.refusedPull(
    [ref],
    /^ctr: pull .*: fetch layer-sha256:[0-9a-f]{64}: .*the connection was cut: unavailable$/,
  );
});

test('nobody listens', { skip: skipPulls }, async () => {
  const unused = createServer().listen(0, '127.0.0.1');
  await once(unused, 'listening');
  const { port } = unused.address() as { port: number };
  await new Promise((resolve) => unused.close(resolve));
  const ref = `127.0.0.1:${port}/some/image:1`;
  await suite.refusedPull(
    [ref],
    `ctr: pull ${ref}: HEAD http://127.0.0.1:${port}/v2/some/image/manifests/1: ECONNREFUSED 127.0.0.1:${port}: ` +
      `check that the registry runs and that 127.0.0.1:${port} is its address: unavailable`,
  );
});

const lies: [string, (content: Buffer) => Buffer, RegExp][] = [
  [
    'other bytes',
    (content) => Buffer.from(content).fill(7, 100, 120),
    /it has the digest sha256:[0-9a-f]{64}/,
  ],
  [
    'more bytes',
    (content) => Buffer.concat([content, Buffer.from('more')]),
    /it has more than [0-9]+ bytes/,
  ],
];
for (const [what, change, why] of lies) {
  test(`a registry that sends ${what} for a layer`, { skip: skipPulls }, async () => {
    const ref = suite.registry.add(suite.image, 'some/image');
    const [layer = ''] = suite.image.layerDigests;
    const content = change(suite.image.blobs.get(layer) ?? Buffer.alloc(0));
    suite.registry.misbehave = (request, response) => {
      if (!request.url?.endsWith(layer)) return false;
      response.writeHead(200).end(content);
      return true;
    };
    await suite.refusedPull(
      [ref],
      new RegExp(
        `^ctr: pull ${ref}: fetch layer-${layer}: the registry sent something else than ${layer}: ${why.source}: `,
      ),
    );
  });
}

test('a client that goes away in the middle: nothing is left behind', {
  skip: skipPulls,
}, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  const reached = new Promise<void>((resolve) => {
    suite.registry.misbehave = (request, response) => {
      if (!suite.isLayer(request.url)) return false;
      response.writeHead(200, { 'content-length': 1 << 20 });
      response.write(Buffer.alloc(1000), () => resolve()); // and then nothing for ever
      return true;
    };
  });
  const client = new AbortController();
  const pull = runCtr('ctr-2.1', suite.daemon.address, ['images', 'pull', ref], client.signal);
  await reached;
  client.abort();
  await pull;
  // The client's own lease stays until it expires, but it holds nothing.
  await waitUntilNothingIsLeft(suite.daemon, { leases: 'stay' });
  for (const id of (await leftovers(suite.daemon)).leases) ok(await suite.ctr('leases', 'rm', id));
});

const references: [string, RegExp][] = [
  [
    'busybox',
    /image reference "busybox": it has no registry host: write it in full: docker\.io\/library\/busybox/,
  ],
  ['127.0.0.1:1/UPPER:1', /"UPPER" is not a repository name/],
  ['127.0.0.1:1/a/../../b:1', /"a\/\.\.\/\.\.\/b" is not a repository name/],
  ['127.0.0.1:1/a', /it has neither tag nor digest: name the tag/],
];
for (const [ref, message] of references) {
  test(`the reference ${ref} is refused before anything is sent`, { skip: skipPulls }, async () => {
    await suite.refusedPull([ref], message);
  });
}
