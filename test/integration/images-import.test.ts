// `ctr images import` and `export`: archives of every layout, and damaged ones, which leave nothing behind.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { type CtrResult, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { waitUntilNothingIsLeft } from '../fixtures/leftovers.ts';
import { type BuiltImage, buildImage, imageArchive, layerTar } from '../fixtures/oci-image.ts';
import type { FileEntry } from '../fixtures/rootfs.ts';
import { peer } from '../peers/index.ts';

const skip = skipWithout('tscontainerd') || peer('ctr-2.1').skip || peer('ctr-1.6').skip;
const versions = ['ctr-2.1', 'ctr-1.6'] as const;
const NAME = 'example.com/test/image:1';

let daemon: TestDaemon;
let dir: string;
let image: BuiltImage;
before(async () => {
  if (skip !== false) return;
  daemon = await TestDaemon.start('tscontainerd');
  dir = mkdtempSync(join(tmpdir(), 'import-'));
  image = await build('gzip');
});
after(async () => {
  if (skip !== false) return;
  await daemon[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

// A test that failed does not make the next ones fail.
afterEach(() => {
  if (skip !== false) return;
  const names = ctr('ctr-2.1', 'images', 'ls', '-q').stdout.split('\n').filter(Boolean);
  if (names.length > 0) ctr('ctr-2.1', 'images', 'rm', '--sync', ...names);
});

const text = (path: string, content: string): FileEntry => ({
  path,
  kind: 'file',
  content: Buffer.from(content),
});

async function build(compression: 'gzip' | 'zstd' | 'none', name = NAME): Promise<BuiltImage> {
  return await buildImage({
    name,
    compression,
    layers: [
      [{ path: 'etc', kind: 'directory' }, text('etc/one', 'one'), text('etc/gone', 'x')],
      [{ path: 'etc', kind: 'directory' }, text('etc/two', 'two'), text('etc/.wh.gone', '')],
    ],
  });
}

function save(archive: Buffer): string {
  const path = join(dir, `${createHash('sha256').update(archive).digest('hex').slice(0, 16)}.tar`);
  writeFileSync(path, archive);
  return path;
}

function ctr(version: 'ctr-2.1' | 'ctr-1.6', ...args: string[]): CtrResult {
  return daemon.ctr(version, args);
}

function ok(result: CtrResult): string {
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

/** Files of an unpacked image, by a view of its topmost snapshot. */
function filesOf(name: string): string {
  const mounted = join(dir, 'mounted');
  execFileSync('mkdir', ['-p', mounted]);
  ok(ctr('ctr-2.1', 'images', 'mount', name, mounted));
  try {
    return execFileSync(
      'sh',
      ['-c', 'cd "$1" && find . -type f | sort | xargs grep ""', 'sh', mounted],
      { encoding: 'utf8' },
    );
  } finally {
    ok(ctr('ctr-2.1', 'images', 'unmount', '--rm', mounted));
  }
}

async function removeAll(): Promise<void> {
  const names = ok(ctr('ctr-2.1', 'images', 'ls', '-q'))
    .split('\n')
    .filter(Boolean);
  if (names.length > 0) ok(ctr('ctr-2.1', 'images', 'rm', '--sync', ...names));
  await waitUntilNothingIsLeft(daemon);
}

for (const version of versions) {
  for (const compression of ['gzip', 'zstd', 'none'] as const) {
    test(`${version}: imports an OCI archive with ${compression} layers`, { skip }, async () => {
      const archive = save(await imageArchive(await build(compression)));
      ok(ctr(version, 'images', 'import', archive));
      assert.equal(ok(ctr(version, 'images', 'ls', '-q')), `${NAME}\n`);
      assert.equal(filesOf(NAME), './etc/one:one\n./etc/two:two\n');
      await removeAll();
    });
  }
}

test('ctr-2.1 --local: imports as an older client does', { skip }, async () => {
  ok(ctr('ctr-2.1', 'images', 'import', '--local', save(await imageArchive(image))));
  assert.equal(filesOf(NAME), './etc/one:one\n./etc/two:two\n');
  await removeAll();
});

for (const [what, compress] of [
  ['gzip', gzipSync],
  ['zstd', zstdCompressSync],
] as const) {
  test(`an archive that is itself compressed with ${what}`, { skip }, async () => {
    ok(ctr('ctr-2.1', 'images', 'import', save(compress(await imageArchive(image)))));
    assert.equal(ok(ctr('ctr-2.1', 'images', 'ls', '-q')), `${NAME}\n`);
    await removeAll();
  });
}

test('labels lead the collector from the manifest to layers and snapshot', { skip }, async () => {
  ok(ctr('ctr-2.1', 'images', 'import', save(await imageArchive(image))));
  const list = ok(ctr('ctr-2.1', 'content', 'ls'));
  const line = (digest: string): string =>
    list.split('\n').find((row) => row.startsWith(digest)) ?? '';
  const manifest = line(image.manifestDigest);
  assert.match(manifest, new RegExp(`containerd.io/gc.ref.content.config=${image.configDigest}`));
  for (const [i, digest] of image.layerDigests.entries()) {
    assert.match(manifest, new RegExp(`containerd.io/gc.ref.content.l.${i}=${digest}`));
    assert.match(line(digest), /containerd.io\/uncompressed=sha256:/);
  }
  assert.match(line(image.configDigest), /containerd.io\/gc.ref.snapshot.overlayfs=sha256:/);
  await removeAll();
});

/** What `docker save` of old wrote: a directory for each layer, names in manifest.json. */
async function dockerArchive(
  change: (manifest: Record<string, unknown>) => void = () => {},
): Promise<Buffer> {
  const [first = '', second = ''] = image.layerDigests;
  const config = image.blobs.get(image.configDigest) ?? Buffer.alloc(0);
  const configName = `${image.configDigest.slice(7)}.json`;
  const manifest = {
    Config: configName,
    RepoTags: ['busybox:test', 'other/name:2'],
    Layers: ['a/layer.tar', 'b/layer.tar'],
  };
  change(manifest);
  return await layerTar([
    { path: 'a/VERSION', kind: 'file', content: Buffer.from('1.0') },
    { path: 'a/layer.tar', kind: 'file', content: image.blobs.get(first) ?? Buffer.alloc(0) },
    { path: 'b/layer.tar', kind: 'file', content: image.blobs.get(second) ?? Buffer.alloc(0) },
    { path: configName, kind: 'file', content: config },
    { path: 'manifest.json', kind: 'file', content: Buffer.from(JSON.stringify([manifest])) },
  ]);
}

for (const version of versions) {
  test(`${version}: imports what docker save wrote`, { skip }, async () => {
    ok(ctr(version, 'images', 'import', save(await dockerArchive())));
    const names = 'docker.io/library/busybox:test\ndocker.io/other/name:2\n';
    assert.equal(ok(ctr(version, 'images', 'ls', '-q')), names);
    assert.equal(filesOf('docker.io/library/busybox:test'), './etc/one:one\n./etc/two:two\n');
    await removeAll();
  });
}

test('--compress-blobs compresses the layers of docker save', { skip }, async () => {
  const plain = await build('none');
  const [first = '', second = ''] = plain.layerDigests;
  const blob = (digest: string): Buffer => plain.blobs.get(digest) ?? Buffer.alloc(0);
  const manifest = [{ Config: 'c.json', RepoTags: ['plain:1'], Layers: ['1.tar', '2.tar'] }];
  const archive = await layerTar([
    { path: '1.tar', kind: 'file', content: blob(first) },
    { path: '2.tar', kind: 'file', content: blob(second) },
    { path: 'c.json', kind: 'file', content: blob(plain.configDigest) },
    text('manifest.json', JSON.stringify(manifest)),
  ]);
  ok(ctr('ctr-2.1', 'images', 'import', '--compress-blobs', save(archive)));
  const list = ok(ctr('ctr-2.1', 'content', 'ls'));
  for (const digest of plain.layerDigests) {
    assert.match(list, new RegExp(`containerd.io/uncompressed=${digest}`));
    assert.doesNotMatch(list, new RegExp(`gc.ref.content.l.[01]=${digest}`));
  }
  assert.equal(filesOf('docker.io/library/plain:1'), './etc/one:one\n./etc/two:two\n');
  await removeAll();
});

test('an archive with one platform of the several that its index lists', { skip }, async () => {
  const other = await buildImage({ name: 'x', architecture: 's390x', layers: [[text('z', 'z')]] });
  const entry = (built: BuiltImage, architecture: string): object => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: built.manifestDigest,
    size: built.blobs.get(built.manifestDigest)?.length,
    platform: { os: 'linux', architecture },
  });
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const here = process.arch === 'x64' ? 'amd64' : process.arch;
  const manifests = [entry(other, 's390x'), entry(image, here)];
  const inner = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
  const digest = `sha256:${createHash('sha256').update(inner).digest('hex')}`;
  const annotations = { 'io.containerd.image.name': NAME };
  const index = {
    schemaVersion: 2,
    manifests: [{ mediaType, digest, size: inner.length, annotations }],
  };
  const blobs = new Map([...image.blobs, [digest, inner]]);
  const archive = save(await imageArchive({ ...image, index, blobs }));
  for (const mode of [[], ['--local']]) {
    ok(ctr('ctr-2.1', 'images', 'import', ...mode, archive));
    assert.equal(filesOf(NAME), './etc/one:one\n./etc/two:two\n');
    const exported = join(dir, 'one-platform.tar');
    ok(ctr('ctr-2.1', 'images', 'export', exported, NAME));
    await removeAll();
    ok(ctr('ctr-2.1', 'images', 'import', exported));
    assert.equal(filesOf(NAME), './etc/one:one\n./etc/two:two\n');
    await removeAll();
  }
});

const naming: string[][] = [
  [],
  ['--base-name', 'example.com/test/image'],
  ['--base-name', 'example.com/other', '--digests'],
  ['--base-name', 'example.com/test/image', '--digests'],
  ['--base-name', 'example.com/test/image', '--digests', '--skip-digest-for-named'],
  ['--index-name', 'example.com/the/index:1'],
  ['--no-unpack'],
  ['--all-platforms'],
];
const skipNaming = skip || skipWithout('containerd-2.1');
test('names are those that containerd gives', { skip: skipNaming }, async (t) => {
  await using original = await TestDaemon.start('containerd-2.1');
  const archive = save(await imageArchive(image));
  const namesAfter = (on: TestDaemon, args: string[]): string[] => {
    ok(on.ctr('ctr-2.1', ['images', 'import', ...args, archive]));
    const names = ok(on.ctr('ctr-2.1', ['images', 'ls', '-q']))
      .split('\n')
      .filter(Boolean);
    ok(on.ctr('ctr-2.1', ['images', 'rm', '--sync', ...names]));
    return names.sort();
  };
  for (const args of naming) {
    for (const mode of [[], ['--local']]) {
      await t.test([...mode, ...args].join(' ') || 'without flags', () => {
        assert.deepEqual(
          namesAfter(daemon, [...mode, ...args]),
          namesAfter(original, [...mode, ...args]),
        );
      });
    }
  }
  await waitUntilNothingIsLeft(daemon);
});

for (const version of versions) {
  test(`${version}: what is exported is imported again, byte by byte`, { skip }, async () => {
    ok(ctr(version, 'images', 'import', save(await imageArchive(image))));
    const exported = join(dir, 'exported.tar');
    ok(ctr(version, 'images', 'export', exported, NAME));
    const listing = execFileSync('tar', ['-tf', exported], { encoding: 'utf8' });
    for (const digest of image.blobs.keys()) {
      assert.ok(listing.includes(`blobs/${digest.replace(':', '/')}\n`), digest);
      const blob = execFileSync('tar', ['-xOf', exported, `blobs/${digest.replace(':', '/')}`]);
      assert.ok(blob.equals(image.blobs.get(digest) ?? Buffer.alloc(0)));
    }
    const [docker] = JSON.parse(
      execFileSync('tar', ['-xOf', exported, 'manifest.json'], { encoding: 'utf8' }),
    );
    assert.deepEqual(docker.RepoTags, [NAME]);
    await removeAll();
    ok(ctr(version, 'images', 'import', exported));
    assert.equal(filesOf(NAME), './etc/one:one\n./etc/two:two\n');
    await removeAll();
  });
}

/** Archives that are damaged, and the one line that says how. */
const damaged: [string, () => Promise<Buffer>, RegExp][] = [
  [
    'cut off inside a layer',
    async () => (await imageArchive(image)).subarray(0, -2000),
    /^ctr: read image archive: it ends early in blobs\/sha256\/[0-9a-f]{64}: data loss$/m,
  ],
  [
    'with a layer that was changed',
    () => changed((blobs, [layer = '']) => blobs.get(layer)?.fill(7, 30, 40)),
    /^ctr: image archive: blobs\/sha256\/[0-9a-f]{64} has the digest sha256:[0-9a-f]{64}: digest mismatch: the archive was damaged or changed: failed precondition$/m,
  ],
  [
    'without a layer',
    () => changed((blobs, [layer = '']) => blobs.delete(layer)),
    /^ctr: image archive: application\/vnd\.oci\.image\.layer\.v1\.tar\+gzip sha256:[0-9a-f]{64}: it is not in it: /m,
  ],
  [
    'without its manifest',
    () => changed((blobs) => blobs.delete(image.manifestDigest)),
    /^ctr: image archive: application\/vnd\.oci\.image\.manifest\.v1\+json sha256:[0-9a-f]{64}: it is not in it: /m,
  ],
  ['that is no tar', async () => Buffer.from('not a tar at all'), /^ctr: read image archive: /m],
  [
    'that is a tar of something else',
    () => layerTar([text('readme', 'hello')]),
    /^ctr: image archive: it has neither oci-layout nor manifest\.json: unrecognized image format: invalid argument$/m,
  ],
  [
    'of another layout version',
    () => layerTar([text('oci-layout', '{"imageLayoutVersion":"9.9"}'), text('index.json', '{}')]),
    /^ctr: image archive: oci-layout: imageLayoutVersion "9\.9" is not 1\.0\.0: invalid argument$/m,
  ],
  [
    'with an index that is not JSON',
    () => layerTar([text('oci-layout', '{"imageLayoutVersion":"1.0.0"}'), text('index.json', '{')]),
    /^ctr: image document sha256:[0-9a-f]{64} is not JSON: /m,
  ],
  [
    'of docker save with a config under another name',
    async () => {
      const archive = await dockerArchive((manifest) => {
        manifest['Config'] = 'absent.json';
      });
      return archive;
    },
    /^ctr: image archive: config absent\.json is not in it: data loss$/m,
  ],
];

async function changed(
  change: (blobs: Map<string, Buffer>, layers: readonly string[]) => unknown,
): Promise<Buffer> {
  const blobs = new Map([...image.blobs].map(([digest, blob]) => [digest, Buffer.from(blob)]));
  change(blobs, image.layerDigests);
  return await imageArchive({ ...image, blobs });
}

for (const [what, make, message] of damaged) {
  test(`an archive ${what}: one error, nothing left behind`, { skip }, async () => {
    const result = ctr('ctr-2.1', 'images', 'import', save(await make()));
    assert.notEqual(result.status, 0);
    assert.match(result.stderr, message);
    assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
    await waitUntilNothingIsLeft(daemon);
  });
}

test('an archive whose layer is not what the config says: nothing left behind', {
  skip,
}, async () => {
  const [, second = ''] = image.layerDigests;
  const config = JSON.parse(image.blobs.get(image.configDigest)?.toString() ?? '');
  config.rootfs.diff_ids[1] = config.rootfs.diff_ids[0];
  const configBytes = Buffer.from(JSON.stringify(config));
  const configDigest = `sha256:${createHash('sha256').update(configBytes).digest('hex')}`;
  const manifest = JSON.parse(image.blobs.get(image.manifestDigest)?.toString() ?? '');
  manifest.config = { ...manifest.config, digest: configDigest, size: configBytes.length };
  const manifestBytes = Buffer.from(JSON.stringify(manifest));
  const manifestDigest = `sha256:${createHash('sha256').update(manifestBytes).digest('hex')}`;
  const index = structuredClone(image.index) as { manifests: Record<string, unknown>[] };
  Object.assign(index.manifests[0] ?? {}, { digest: manifestDigest, size: manifestBytes.length });
  const blobs = new Map([
    ...image.blobs,
    [configDigest, configBytes],
    [manifestDigest, manifestBytes],
  ]);
  const archive = await imageArchive({ ...image, index: { ...index }, blobs });
  const result = ctr('ctr-2.1', 'images', 'import', save(archive));
  assert.match(
    result.stderr,
    new RegExp(
      `^ctr: layer ${second}: its content is sha256:[0-9a-f]{64}, the image config says sha256:[0-9a-f]{64}`,
      'm',
    ),
  );
  await waitUntilNothingIsLeft(daemon);
});

test('a client that goes away in the middle: nothing left behind', { skip }, async () => {
  const archive = await imageArchive(image);
  const { path, env } = peer('ctr-2.1');
  // The client reads from a pipe that never ends, and is killed.
  spawnSync(path, ['--address', daemon.address, 'images', 'import', '-'], {
    env,
    input: archive.subarray(0, 1500),
    timeout: 1500,
    killSignal: 'SIGKILL',
  });
  await waitUntilNothingIsLeft(daemon);
});
