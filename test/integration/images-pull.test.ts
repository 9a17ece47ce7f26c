// `ctr images pull`: from a registry that misbehaves in each way, which leaves nothing behind, and from Debian's.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { runCtr } from '../fixtures/ctr.ts';
import { type CtrResult, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { leftovers, waitUntilNothingIsLeft } from '../fixtures/leftovers.ts';
import { type BuiltImage, buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { refuse, TestRegistry } from '../fixtures/registry.ts';
import { peer } from '../peers/index.ts';

const skip = skipWithout('tscontainerd') || peer('ctr-2.1').skip || peer('ctr-1.6').skip;

let daemon: TestDaemon;
let registry: TestRegistry;
let dir: string;
let image: BuiltImage;
before(async () => {
  if (skip !== false) return;
  daemon = await TestDaemon.start('tscontainerd');
  dir = mkdtempSync(join(tmpdir(), 'pull-'));
  // Layers that are large enough to break off in the middle, and no compressor can shrink.
  const noise = (seed: string): Buffer =>
    Buffer.concat(
      Array.from({ length: 20_000 }, (_, i) => createHash('sha256').update(`${seed}${i}`).digest()),
    );
  image = await buildImage({
    name: 'unused',
    layers: ['a', 'b', 'c'].map((path) => [{ path, kind: 'file', content: noise(path) }]),
  });
});
after(async () => {
  if (skip !== false) return;
  await daemon[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});
beforeEach(async () => {
  registry = await TestRegistry.start();
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  if (skip !== false) return;
  const names = (await ctr('images', 'ls', '-q')).stdout.split('\n').filter(Boolean);
  if (names.length > 0) await ctr('images', 'rm', '--sync', ...names);
});

function ctr(...args: string[]): Promise<CtrResult> {
  return runCtr('ctr-2.1', daemon.address, args);
}

function ok(result: CtrResult): string {
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

async function refusedPull(args: readonly string[], message: RegExp | string): Promise<void> {
  const result = await ctr('images', 'pull', ...args);
  assert.notEqual(result.status, 0);
  if (typeof message === 'string') assert.equal(result.stderr.trim(), message);
  else assert.match(result.stderr.trim(), message);
  assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
  await waitUntilNothingIsLeft(daemon);
}

const isLayer = (url = ''): boolean => image.layerDigests.some((digest) => url.endsWith(digest));
const modes: [string, (...args: string[]) => Promise<CtrResult>][] = [
  ['ctr-2.1', (...args) => runCtr('ctr-2.1', daemon.address, ['images', 'pull', ...args])],
  [
    'ctr-2.1 --local',
    (...args) =>
      runCtr('ctr-2.1', daemon.address, ['images', 'pull', '--local', '--plain-http', ...args]),
  ],
  [
    'ctr-1.6',
    (...args) => runCtr('ctr-1.6', daemon.address, ['images', 'pull', '--plain-http', ...args]),
  ],
];
for (const [mode, pull] of modes) {
  for (const snapshotter of ['overlayfs', 'native']) {
    test(`${mode}: pulls and unpacks with ${snapshotter}`, { skip }, async () => {
      const ref = registry.add(image, 'some/image');
      ok(await pull('--snapshotter', snapshotter, ref));
      assert.equal(ok(await ctr('images', 'ls', '-q')), `${ref}\n`);
      const tree = ok(await ctr('snapshots', '--snapshotter', snapshotter, 'ls'));
      assert.equal(tree.match(/Committed/g)?.length, 3, tree);
      const content = ok(await ctr('content', 'ls'));
      for (const digest of image.blobs.keys()) assert.ok(content.includes(digest), digest);
      assert.match(content, /containerd.io\/distribution.source.127.0.0.1=some\/image/);
    });
  }
}

test('what a pull stored is what containerd stores: records, labels, snapshots', {
  skip: skip || skipWithout('containerd-2.1'),
}, async () => {
  await using original = await TestDaemon.start('containerd-2.1');
  const ref = registry.add(image, 'some/image');
  const stored = async (address: string): Promise<string[]> => {
    ok(await runCtr('ctr-2.1', address, ['images', 'pull', '--label', 'l=1', ref]));
    const run = async (...args: string[]): Promise<string> =>
      ok(await runCtr('ctr-2.1', address, args));
    const ages = /\t[^\t]*(?:second|minute)s?[^\t]*\t/g;
    return [
      await run('images', 'ls'),
      (await run('content', 'ls')).replaceAll(ages, '\t'),
      await run('snapshots', 'ls'),
    ];
  };
  assert.deepEqual(await stored(daemon.address), await stored(original.address));
});

test('progress ends with every blob complete and the image saved', { skip }, async () => {
  const ref = registry.add(image, 'some/image');
  const output = ok(await ctr('images', 'pull', ref));
  assert.match(output, /Resolving from OCI Registry|Pulling from OCI Registry \(/);
  for (const digest of image.layerDigests) {
    assert.match(output, new RegExp(`layer \\(${digest.slice(7, 19)}\\)\\s+extracted`));
  }
  assert.match(output, /\s+saved\s*$/m);
});

test('ten pulls at once fetch each blob once', { skip }, async () => {
  const ref = registry.add(image, 'some/image');
  const pulls = Array.from({ length: 10 }, () => ctr('images', 'pull', ref));
  for (const result of await Promise.all(pulls)) ok(result);
  const fetched = registry.seen.filter(({ method }) => method === 'GET').map(({ path }) => path);
  assert.deepEqual(fetched.sort(), [...new Set(fetched)].sort());
});

test('three layers are fetched side by side', { skip }, async () => {
  const ref = registry.add(image, 'some/image');
  // Nothing is sent before all three have been asked for: a pull that goes one by one never ends.
  const held: (() => void)[] = [];
  registry.misbehave = (request, response) => {
    const layer = image.layerDigests.find((digest) => request.url?.endsWith(digest));
    if (layer === undefined) return false;
    held.push(() => response.end(image.blobs.get(layer)));
    if (held.length === 3) for (const release of held.splice(0)) release();
    return true;
  };
  ok(await ctr('images', 'pull', ref));
});

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
  test(`a registry that answers ${status} for the manifest`, { skip }, async () => {
    const ref = registry.add(image, 'some/image');
    registry.misbehave = (_request, response) => {
      response.setHeader('retry-after', '0');
      refuse(response, status, code, reason);
      return true;
    };
    const url = `http://${registry.host}/v2/some/image/manifests/latest`;
    // A passing error is told of the HEAD, whose answer has no text.
    const said =
      status === 429 || status >= 500 ? `HEAD ${url}: ${message}` : `GET ${url}: ${message}`;
    await refusedPull([ref], `ctr: pull ${ref}: ${said}${advice(registry.host, false)}${kind}`);
  });

  test(`a registry that answers ${status} for a layer`, { skip }, async () => {
    const ref = registry.add(image, 'some/image');
    const [, layer = ''] = image.layerDigests;
    registry.misbehave = (request, response) => {
      if (!request.url?.endsWith(layer)) return false;
      response.setHeader('retry-after', '0');
      refuse(response, status, code, reason);
      return true;
    };
    const url = `http://${registry.host}/v2/some/image/blobs/${layer}`;
    const text = message.endsWith(reason) ? message : `${message}: ${reason}`;
    await refusedPull(
      [ref],
      `ctr: pull ${ref}: fetch layer-${layer}: GET ${url}: ${text}${advice(registry.host, true)}${kind}`,
    );
  });
}

test('a registry that is busy at first is asked again', { skip }, async () => {
  const ref = registry.add(image, 'some/image');
  let refused = 0;
  registry.misbehave = (request, response) => {
    if (!isLayer(request.url) || refused >= 2) return false;
    refused++;
    response.setHeader('retry-after', '1');
    refuse(response, 429, 'TOOMANYREQUESTS', 'slow down');
    return true;
  };
  const startMs = performance.now();
  ok(await ctr('images', 'pull', ref));
  assert.equal(refused, 2);
  assert.ok(performance.now() - startMs >= 1000, 'Retry-After was not waited for');
});

/** Sends half of a blob and cuts the connection. */
function breakOff(response: ServerResponse, content: Buffer): void {
  response.writeHead(200, { 'content-length': content.length });
  response.write(content.subarray(0, content.length >> 1), () => response.destroy());
}

test('a connection that is cut is resumed where it was', { skip }, async () => {
  const ref = registry.add(image, 'some/image');
  const [layer = ''] = image.layerDigests;
  let cuts = 0;
  registry.misbehave = (request, response) => {
    if (!request.url?.endsWith(layer) || cuts > 0) return false;
    cuts++;
    breakOff(response, image.blobs.get(layer) ?? Buffer.alloc(0));
    return true;
  };
  ok(await ctr('images', 'pull', ref));
  const ranges = registry.seen.filter(({ path }) => path.endsWith(layer)).map(({ range }) => range);
  assert.equal(ranges.length, 2);
  assert.equal(ranges[0], undefined);
  assert.match(ranges[1] ?? '', /^bytes=[1-9][0-9]*-$/);
});

test('a host that does not know ranges sends all again', { skip }, async () => {
  const ref = registry.add(image, 'some/image');
  const [layer = ''] = image.layerDigests;
  const content = image.blobs.get(layer) ?? Buffer.alloc(0);
  let cuts = 0;
  registry.misbehave = (request, response) => {
    if (!request.url?.endsWith(layer)) return false;
    if (cuts++ === 0) breakOff(response, content);
    else response.writeHead(200, { 'content-length': content.length }).end(content);
    return true;
  };
  ok(await ctr('images', 'pull', ref));
});

test('a registry that always breaks off', { skip }, async () => {
  const ref = registry.add(image, 'some/image');
  registry.misbehave = (request, response) => {
    if (!isLayer(request.url)) return false;
    response.writeHead(200, { 'content-length': 1000 });
    response.flushHeaders();
    response.destroy();
    return true;
  };
  await refusedPull(
    [ref],
    /^ctr: pull .*: fetch layer-sha256:[0-9a-f]{64}: .*the connection was cut: unavailable$/,
  );
});

test('nobody listens', { skip }, async () => {
  const unused = createServer().listen(0, '127.0.0.1');
  await once(unused, 'listening');
  const { port } = unused.address() as { port: number };
  await new Promise((resolve) => unused.close(resolve));
  const ref = `127.0.0.1:${port}/some/image:1`;
  await refusedPull(
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
  test(`a registry that sends ${what} for a layer`, { skip }, async () => {
    const ref = registry.add(image, 'some/image');
    const [layer = ''] = image.layerDigests;
    const content = change(image.blobs.get(layer) ?? Buffer.alloc(0));
    registry.misbehave = (request, response) => {
      if (!request.url?.endsWith(layer)) return false;
      response.writeHead(200).end(content);
      return true;
    };
    await refusedPull(
      [ref],
      new RegExp(
        `^ctr: pull ${ref}: fetch layer-${layer}: the registry sent something else than ${layer}: ${why.source}: `,
      ),
    );
  });
}

test('a registry that answers for another digest than asked', { skip }, async () => {
  registry.add(image, 'some/image');
  const asked = `sha256:${'1'.repeat(64)}`;
  registry.misbehave = (request, response) => {
    if (!request.url?.includes('/manifests/')) return false;
    response.writeHead(200, {
      'content-type': 'application/vnd.oci.image.manifest.v1+json',
      'docker-content-digest': image.manifestDigest,
    });
    response.end(request.method === 'HEAD' ? undefined : image.blobs.get(image.manifestDigest));
    return true;
  };
  await refusedPull(
    [`${registry.host}/some/image@${asked}`],
    /^ctr: pull .*: (?:HEAD|GET) .*: (?:the registry answers for|the answer has the digest) sha256:[0-9a-f]{64}: failed precondition$/,
  );
});

/** Documents that must not be believed. */
const documents: [string, () => object, RegExp][] = [
  [
    'both layers and manifests (CVE-2021-41190)',
    () => ({ ...manifest(), manifests: [] }),
    /it has both layers and manifests/,
  ],
  [
    'another media type inside',
    () => ({ ...manifest(), mediaType: 'application/vnd.oci.image.index.v1+json' }),
    /mediaType "application\/vnd\.oci\.image\.index\.v1\+json" is not application\/vnd\.oci\.image\.manifest\.v1\+json/,
  ],
  ['no config', () => ({ ...manifest(), config: undefined }), /config is not a descriptor/],
  [
    'a digest that is none',
    () => ({ ...manifest(), config: { mediaType: 'x', digest: 'sha256:../../../etc', size: 1 } }),
    /config: "sha256:\.\.\/\.\.\/\.\.\/etc" is not a digest/,
  ],
  [
    'a negative size',
    () => ({ ...manifest(), layers: [{ mediaType: 'x', digest: image.configDigest, size: -1 }] }),
    /layers\[0\]: size -1/,
  ],
];
function manifest(): Record<string, unknown> {
  return JSON.parse(image.blobs.get(image.manifestDigest)?.toString() ?? '');
}
for (const [what, make, why] of documents) {
  test(`a manifest with ${what} is refused`, { skip }, async () => {
    registry.add(image, 'some/image');
    registry.addManifest(
      'bad',
      'application/vnd.oci.image.manifest.v1+json',
      Buffer.from(JSON.stringify(make())),
    );
    await refusedPull(
      [`${registry.host}/some/image:bad`],
      new RegExp(
        `^ctr: pull .*: image document sha256:[0-9a-f]{64}: ${why.source}: invalid argument$`,
      ),
    );
  });
}

const INDEX = 'application/vnd.oci.image.index.v1+json';
function index(...manifests: object[]): Buffer {
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests }));
}

test('indexes in indexes are followed to a limit', { skip }, async () => {
  let content = index();
  let digest = registry.addManifest('deep', INDEX, content);
  for (let i = 0; i < 20; i++) {
    content = index({ mediaType: INDEX, digest, size: content.length });
    digest = registry.addManifest('deep', INDEX, content);
  }
  await refusedPull(
    [`${registry.host}/some/image:deep`],
    /^ctr: pull .*: image index sha256:[0-9a-f]{64}: more than 4 levels: resource exhausted$/,
  );
});

test('a graph of indexes that multiplies is visited once each', { skip }, async () => {
  // Each level lists the next one fifty times: 50^4 visits without a memory of what was seen.
  registry.add(image, 'some/image');
  const leaf = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: image.manifestDigest,
    size: image.blobs.get(image.manifestDigest)?.length,
  };
  let content = index(...Array.from({ length: 50 }, () => leaf));
  for (let i = 0; i < 3; i++) {
    const digest = registry.addManifest('wide', INDEX, content);
    const child = { mediaType: INDEX, digest, size: content.length };
    content = index(...Array.from({ length: 50 }, () => child));
  }
  registry.addManifest('wide', INDEX, content);
  ok(await ctr('images', 'pull', `${registry.host}/some/image:wide`));
  const manifests = registry.seen.filter(
    ({ method, path }) => method === 'GET' && path.includes('/manifests/'),
  );
  assert.ok(manifests.length <= 6, `${manifests.length} requests`);
});

test('a manifest without end is cut off', { skip }, async () => {
  registry.misbehave = (request, response) => {
    response.writeHead(200, { 'content-type': 'application/vnd.oci.image.manifest.v1+json' });
    if (request.method === 'HEAD') response.end();
    else {
      const chunk = Buffer.alloc(65536, ' ');
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) {}
      };
      response.on('drain', more);
      more();
    }
    return true;
  };
  await refusedPull(
    [`${registry.host}/some/image:endless`],
    /^ctr: pull .*: the answer has more than 4194304 bytes: resource exhausted$/,
  );
});

test('an image of several platforms: this machine’s layers, all metadata', { skip }, async () => {
  registry.add(image, 'some/image');
  const other = await buildImage({
    name: 'x',
    architecture: 'riscv64',
    layers: [[{ path: 'r', kind: 'file', content: Buffer.from('r') }]],
  });
  registry.add(other, 'some/image', 'other');
  const entry = ({ manifestDigest, blobs }: BuiltImage, architecture: string): object => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: manifestDigest,
    size: blobs.get(manifestDigest)?.length,
    platform: { os: 'linux', architecture },
  });
  const here = process.arch === 'x64' ? 'amd64' : process.arch;
  registry.addManifest('multi', INDEX, index(entry(other, 'riscv64'), entry(image, here)));
  const ref = `${registry.host}/some/image:multi`;
  ok(await ctr('images', 'pull', ref));
  const stored = ok(await ctr('content', 'ls', '-q')).split('\n');
  assert.ok(stored.includes(image.layerDigests[0] ?? ''));
  assert.ok(stored.includes(other.manifestDigest) && stored.includes(other.configDigest));
  assert.ok(!stored.includes(other.layerDigests[0] ?? ''), 'a layer of another platform');
  ok(await ctr('images', 'rm', '--sync', ref));
  await refusedPull(
    ['--platform', 'linux/s390x', ref],
    /^ctr: pull .*: no manifest for platform linux\/s390x: not found$/,
  );
});

/** A registry that wants a password, directly or for a token. */
function guarded(scheme: 'basic' | 'bearer', realm: string): void {
  const basic = `Basic ${Buffer.from('user:secret').toString('base64')}`;
  const wanted = scheme === 'basic' ? basic : 'Bearer token-1';
  registry.misbehave = (request, response) => {
    if (request.headers.authorization === wanted) return false;
    const challenge =
      scheme === 'basic'
        ? 'Basic realm="x"'
        : `Bearer realm="${realm}",service="registry",scope="repository:some/image:pull"`;
    response.setHeader('www-authenticate', challenge);
    refuse(response, 401, 'UNAUTHORIZED', 'authentication required');
    return true;
  };
}

test('a password is given to who asks for it', { skip }, async () => {
  const ref = registry.add(image, 'some/image');
  guarded('basic', '');
  ok(await ctr('images', 'pull', '--user', 'user:secret', ref));
});

test('a wrong password is refused once', { skip }, async () => {
  const ref = registry.add(image, 'some/image');
  guarded('basic', '');
  await refusedPull(
    ['--user', 'user:wrong', ref],
    /401 Unauthorized: authentication required: check the user and the password for 127.0.0.1:[0-9]+: unauthorized$/,
  );
});

test('a token is asked for with the password and the scope', { skip }, async () => {
  await using tokens = await TestRegistry.start();
  tokens.misbehave = (request, response) => {
    const isUser =
      request.headers.authorization === `Basic ${Buffer.from('user:secret').toString('base64')}`;
    response.writeHead(isUser ? 200 : 401);
    response.end(JSON.stringify({ access_token: 'token-1' }));
    return true;
  };
  const ref = registry.add(image, 'some/image');
  guarded('bearer', `http://${tokens.host}/token`);
  ok(await ctr('images', 'pull', '--user', 'user:secret', ref));
  const [asked] = tokens.seen;
  assert.equal(asked?.path, '/token?service=registry&scope=repository%3Asome%2Fimage%3Apull');
  assert.equal(tokens.seen.length, 1, 'one token serves all blobs');
});

test('a password is not sent to a host that a redirect names (CVE-2020-15157)', {
  skip,
}, async () => {
  await using foreign = await TestRegistry.start();
  foreign.add(image, 'some/image');
  foreign.misbehave = (_request, response) => {
    response.setHeader('www-authenticate', 'Basic realm="give me your password"');
    refuse(response, 401, 'UNAUTHORIZED', 'who are you');
    return true;
  };
  const ref = registry.add(image, 'some/image');
  const basic = `Basic ${Buffer.from('user:secret').toString('base64')}`;
  registry.misbehave = (request, response) => {
    if (request.headers.authorization !== basic) {
      response.setHeader('www-authenticate', 'Basic realm="x"');
      refuse(response, 401, 'UNAUTHORIZED', 'authentication required');
      return true;
    }
    if (!isLayer(request.url)) return false;
    response.writeHead(307, { location: `http://${foreign.host}${request.url}` }).end();
    return true;
  };
  await refusedPull(
    ['--user', 'user:secret', ref],
    /^ctr: pull .*: fetch layer-.*: 401 Unauthorized: who are you: unauthorized$/,
  );
  assert.ok(foreign.seen.length > 0);
  assert.deepEqual(foreign.seen.map(({ authorization }) => authorization).filter(Boolean), []);
});

test('a redirect to another host is followed without the password', { skip }, async () => {
  await using storage = await TestRegistry.start();
  storage.add(image, 'some/image');
  const ref = registry.add(image, 'some/image');
  registry.misbehave = (request, response) => {
    if (!isLayer(request.url)) return false;
    response
      .writeHead(307, { location: `http://${storage.host}${request.url}?signature=secret` })
      .end();
    return true;
  };
  ok(await ctr('images', 'pull', '--user', 'user:secret', ref));
  assert.equal(storage.seen.length, 3);
});

test('hosts.toml: a mirror is tried first, the registry after it', { skip }, async () => {
  await using mirror = await TestRegistry.start();
  const ref = registry.add(image, 'some/image');
  const hosts = join(dir, 'certs.d', registry.host.replace(/:(\d+)$/, '_$1_'));
  mkdirSync(hosts, { recursive: true });
  const toml = `server = "http://${registry.host}"\n[host."http://${mirror.host}"]\ncapabilities = ["pull", "resolve"]\n`;
  writeFileSync(join(hosts, 'hosts.toml'), toml);
  const pull = ['images', 'pull', '--hosts-dir', join(dir, 'certs.d'), ref];
  ok(await ctr(...pull)); // the mirror has nothing
  assert.ok(mirror.seen.length > 0 && registry.seen.length > 0);
  ok(await ctr('images', 'rm', '--sync', ref));
  mirror.add(image, 'some/image');
  registry.seen.length = 0;
  ok(await ctr(...pull));
  assert.deepEqual(registry.seen, []);
  ok(await ctr('images', 'rm', '--sync', ref));
  writeFileSync(join(hosts, 'hosts.toml'), `${toml}skip_verfy = true\n`);
  await refusedPull(
    pull.slice(2),
    /hosts\.toml:4: skip_verfy is not a key of hosts\.toml: invalid argument$/,
  );
});

test('a client that goes away in the middle: nothing is left behind', { skip }, async () => {
  const ref = registry.add(image, 'some/image');
  const reached = new Promise<void>((resolve) => {
    registry.misbehave = (request, response) => {
      if (!isLayer(request.url)) return false;
      response.writeHead(200, { 'content-length': 1 << 20 });
      response.write(Buffer.alloc(1000), () => resolve()); // and then nothing for ever
      return true;
    };
  });
  const client = new AbortController();
  const pull = runCtr('ctr-2.1', daemon.address, ['images', 'pull', ref], client.signal);
  await reached;
  client.abort();
  await pull;
  // The client's own lease stays until it expires, but it holds nothing.
  await waitUntilNothingIsLeft(daemon, { leases: 'stay' });
  for (const id of (await leftovers(daemon)).leases) ok(await ctr('leases', 'rm', id));
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
  test(`the reference ${ref} is refused before anything is sent`, { skip }, async () => {
    await refusedPull([ref], message);
  });
}

test('Debian’s docker-registry: push, and pull again', {
  skip: skip || peer('docker-registry').skip,
}, async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  const config = join(dir, 'registry.yml');
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${dir}/registry}}\nhttp: {addr: "127.0.0.1:${port}"}\n`,
  );
  const { path, env } = peer('docker-registry');
  const child = spawn(path, ['serve', config], { env, stdio: 'ignore' });
  try {
    await answers(port);
    const source = 'example.com/pushed/image:1';
    const archive = join(dir, 'push.tar');
    const named = await buildImage({
      name: source,
      layers: [[{ path: 'p', kind: 'file', content: Buffer.from('pushed') }]],
    });
    writeFileSync(archive, await imageArchive(named));
    ok(await ctr('images', 'import', archive));
    for (const mode of [[], ['--local']]) {
      const ref = `127.0.0.1:${port}/pushed/image${mode.length}:1`;
      ok(await ctr('images', 'tag', source, ref));
      ok(await ctr('images', 'push', '--plain-http', ...mode, ref));
    }
    ok(
      await ctr(
        'images',
        'rm',
        '--sync',
        source,
        `127.0.0.1:${port}/pushed/image0:1`,
        `127.0.0.1:${port}/pushed/image1:1`,
      ),
    );
    await waitUntilNothingIsLeft(daemon);
    for (const [, pull] of modes) {
      for (const name of ['image0', 'image1']) {
        const ref = `127.0.0.1:${port}/pushed/${name}:1`;
        ok(await pull(ref));
        assert.ok(ok(await ctr('images', 'ls')).includes(named.manifestDigest));
        ok(await ctr('images', 'rm', '--sync', ref));
      }
    }
  } finally {
    child.kill();
    await once(child, 'exit');
  }
});

async function answers(port: number): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('close', () => socket.destroy());
    });
    if (isOpen) return;
    await delay(50); // there is no event for a port that another process is about to open
  }
  throw new Error(`no registry on port ${port}`);
}
