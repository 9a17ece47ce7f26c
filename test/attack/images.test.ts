// Hostile images, beyond their layers (layers.test.ts): archives that are larger than they look, and a manifest that sends
// the daemon to a host of the attacker's.
//
// CVE-2023-25153 (a file of an archive is read into memory without a limit), CVE-2020-15157 (a layer's `urls` name a foreign
// host, which asks for the password of the registry and gets it).
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { runCtr } from '../fixtures/ctr.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { waitUntilNothingIsLeft } from '../fixtures/leftovers.ts';
import { buildImage, layerTar } from '../fixtures/oci-image.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import type { FileEntry } from '../fixtures/rootfs.ts';
import { peer } from '../peers/index.ts';

const skip = skipWithout('tscontainerd') || peer('ctr-2.1').skip;
const MB = 1 << 20;

let daemon: TestDaemon;
let dir: string;
before(async () => {
  if (skip !== false) return;
  daemon = await TestDaemon.start('tscontainerd');
  dir = mkdtempSync(join(tmpdir(), 'images-'));
});
after(async () => {
  if (skip !== false) return;
  await daemon[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

/** Highest resident size of the daemon since it started. */
function peakBytes(): number {
  const status = readFileSync(`/proc/${daemon.process.pid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** The header of an entry, saying that its data has `sizeBytes`. */
async function header(entry: FileEntry, sizeBytes: number): Promise<Buffer> {
  const block = (await layerTar([entry])).subarray(0, 512);
  block.write(`${sizeBytes.toString(8).padStart(11, '0')}\0`, 124);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** Imports an archive that must be refused, with nothing left and without its data in memory. */
async function refusedImport(archive: Buffer, message: RegExp): Promise<void> {
  const path = join(dir, 'archive.tar.gz');
  writeFileSync(path, archive);
  const before = peakBytes();
  const result = await runCtr('ctr-2.1', daemon.address, ['images', 'import', path]);
  assert.notEqual(result.status, 0);
  // Ctr may say first that it could not send the rest.
  assert.match(result.stderr.trim().split('\n').at(-1) ?? '', message);
  const grown = peakBytes() - before;
  assert.ok(grown < 150 * MB, `${grown} bytes more`);
  await waitUntilNothingIsLeft(daemon);
}

/** A gibibyte of zeros, compressed: a member of gzip over and over. */
const ZEROS = 1024 * MB;
function zeros(): Buffer {
  const member = gzipSync(Buffer.alloc(16 * MB), { level: 1 });
  return Buffer.concat(Array.from({ length: ZEROS / (16 * MB) }, () => member));
}

for (const name of ['index.json', 'manifest.json', 'oci-layout']) {
  test(`an archive whose ${name} has a gibibyte is refused unread`, { skip }, async () => {
    const entry = { path: name, kind: 'file', content: Buffer.alloc(0) } as const;
    const archive = Buffer.concat([gzipSync(await header(entry, ZEROS)), zeros()]);
    assert.ok(archive.length < 8 * MB);
    await refusedImport(
      archive,
      new RegExp(`^ctr: image archive: ${name} has 1073741824 bytes: resource exhausted$`),
    );
  });
}

test('an archive whose extended header has a gibibyte is refused unread', { skip }, async () => {
  const entry = { path: 'x', kind: 'file', content: Buffer.alloc(0) } as const;
  const block = await header(entry, ZEROS);
  block.write('x', 156);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  await refusedImport(
    Buffer.concat([gzipSync(block), zeros()]),
    /^ctr: read image archive: Header exceeds max size: data loss$/,
  );
});

test('an archive of a hundred thousand links is refused', { skip }, async () => {
  const link = (await layerTar([{ path: 'link', kind: 'symlink', target: 'x' }])).subarray(0, 512);
  const links = Buffer.concat(Array.from({ length: 100_001 }, () => link));
  await refusedImport(
    gzipSync(links, { level: 1 }),
    /^ctr: image archive: more than 100000 entries: resource exhausted$/,
  );
});

test('a layer’s urls lead elsewhere only for what the registry lacks, and without its password', {
  skip,
}, async () => {
  const image = await buildImage({
    name: 'example.com/some/image:latest',
    layers: [[{ path: 'file', kind: 'file', content: Buffer.from('x') }]],
  });
  await using registry = await TestRegistry.start();
  await using foreign = await TestRegistry.start();
  for (const host of [registry, foreign]) host.add(image, 'some/image');
  foreign.misbehave = (_request, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="give me your password"' }).end();
    return true;
  };
  const basic = `Basic ${Buffer.from('user:secret').toString('base64')}`;
  registry.misbehave = (request, response) => {
    if (request.headers.authorization !== basic) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      return true;
    }
    if (!request.url?.endsWith(image.layerDigests[0] ?? '?')) return false;
    response.writeHead(404).end();
    return true;
  };
  const manifest = JSON.parse(image.blobs.get(image.manifestDigest)?.toString() ?? '');
  const [layer] = manifest.layers;
  layer.urls = [`http://${foreign.host}/v2/some/image/blobs/${layer.digest}`];
  const types = ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', layer.mediaType];
  for (const mediaType of types) {
    layer.mediaType = mediaType;
    registry.addManifest('latest', manifest.mediaType, Buffer.from(JSON.stringify(manifest)));
    const ref = `${registry.host}/some/image:latest`;
    const args = ['images', 'pull', '--user', 'user:secret', ref];
    const result = await runCtr('ctr-2.1', daemon.address, args);
    assert.notEqual(result.status, 0);
    assert.match(result.stderr, /404 Not Found/);
    const asked = foreign.seen.splice(0);
    assert.deepEqual(
      asked.map(({ method, path, authorization }) => ({ method, path, authorization })),
      [{ method: 'GET', path: new URL(layer.urls.at(-1)).pathname, authorization: undefined }],
    );
    // The challenge of the foreign host was not answered, and nothing that is not HTTP was tried.
    layer.urls = ['file:///etc/passwd', `http://${foreign.host}/x`];
  }
  await waitUntilNothingIsLeft(daemon);
});
