// `ctr images pull` as it should go: what is stored, in which order, from mirrors, and from Debian's registry.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { runCtr } from '../fixtures/ctr.ts';
import { type CtrResult, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { waitUntilNothingIsLeft } from '../fixtures/leftovers.ts';
import { type BuiltImage, buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { INDEX, imageIndex, ok, PullSuite, skipPulls } from '../fixtures/pull-suite.ts';
import { TestRegistry } from '../fixtures/registry.ts';
import { peer } from '../peers/index.ts';

const suite = PullSuite.define();

const modes: [string, (...args: string[]) => Promise<CtrResult>][] = [
  ['ctr-2.1', (...args) => runCtr('ctr-2.1', suite.daemon.address, ['images', 'pull', ...args])],
  [
    'ctr-2.1 --local',
    (...args) =>
      runCtr('ctr-2.1', suite.daemon.address, [
        'images',
        'pull',
        '--local',
        '--plain-http',
        ...args,
      ]),
  ],
  [
    'ctr-1.6',
    (...args) =>
      runCtr('ctr-1.6', suite.daemon.address, ['images', 'pull', '--plain-http', ...args]),
  ],
];
for (const [mode, pull] of modes) {
  for (const snapshotter of ['overlayfs', 'native']) {
    test(`${mode}: pulls and unpacks with ${snapshotter}`, { skip: skipPulls }, async () => {
      const ref = suite.registry.add(suite.image, 'some/image');
      ok(await pull('--snapshotter', snapshotter, ref));
      assert.equal(ok(await suite.ctr('images', 'ls', '-q')), `${ref}\n`);
      const tree = ok(await suite.ctr('snapshots', '--snapshotter', snapshotter, 'ls'));
      assert.equal(tree.match(/Committed/g)?.length, 3, tree);
      const content = ok(await suite.ctr('content', 'ls'));
      for (const digest of suite.image.blobs.keys()) assert.ok(content.includes(digest), digest);
      assert.match(content, /containerd.io\/distribution.source.127.0.0.1=some\/image/);
    });
  }
}

test('what a pull stored is what containerd stores: records, labels, snapshots', {
  skip: skipPulls || skipWithout('containerd-2.1'),
}, async () => {
  await using original = await TestDaemon.start('containerd-2.1');
  const ref = suite.registry.add(suite.image, 'some/image');
  const stored = async (address: string): Promise<string[]> => {
    ok(await runCtr('ctr-2.1', address, ['images', 'pull', '--label', 'l=1', ref]));
    const run = async (...args: string[]): Promise<string> =>
      ok(await runCtr('ctr-2.1', address, args));
    const ages = /\t[^\t]*(?:second|minute)s?[^\t]*\t/g;
    return [
      await run('images', 'ls'),
      // Its columns are as wide as the ages in them.
      (await run('content', 'ls')).replaceAll(ages, '\t').replaceAll(/\t+/g, '\t'),
      await run('snapshots', 'ls'),
    ];
  };
  assert.deepEqual(await stored(suite.daemon.address), await stored(original.address));
});

test('progress ends with every blob complete and the image saved', {
  skip: skipPulls,
}, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  const output = ok(await suite.ctr('images', 'pull', ref));
  assert.match(output, /Resolving from OCI Registry|Pulling from OCI Registry \(/);
  for (const digest of suite.image.layerDigests) {
    assert.match(output, new RegExp(`layer \\(${digest.slice(7, 19)}\\)\\s+extracted`));
  }
  assert.match(output, /\s+saved\s*$/m);
});

test('ten pulls at once fetch each blob once', { skip: skipPulls }, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  const pulls = Array.from({ length: 10 }, () => suite.ctr('images', 'pull', ref));
  for (const result of await Promise.all(pulls)) ok(result);
  const fetched = suite.registry.seen
    .filter(({ method }) => method === 'GET')
    .map(({ path }) => path);
  assert.deepEqual(fetched.sort(), [...new Set(fetched)].sort());
});

test('three layers are fetched side by side', { skip: skipPulls }, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  // Nothing is sent before all three have been asked for: a pull that goes one by one never ends.
  const held: (() => void)[] = [];
  suite.registry.misbehave = (request, response) => {
    const layer = suite.image.layerDigests.find((digest) => request.url?.endsWith(digest));
    if (layer === undefined) return false;
    held.push(() => response.end(suite.image.blobs.get(layer)));
    if (held.length === 3) for (const release of held.splice(0)) release();
    return true;
  };
  ok(await suite.ctr('images', 'pull', ref));
});

// containerd/containerd 8881: an image of many layers is unpacked no faster than its lowest one comes.
test('layers are unpacked while those below them are still on their way', {
  skip: skipPulls,
}, async () => {
  const ref = suite.registry.add(suite.image, 'some/image');
  const [lowest = ''] = suite.image.layerDigests;
  let release: (() => void) | undefined;
  suite.registry.misbehave = (request, response) => {
    if (!request.url?.endsWith(lowest)) return false;
    release = () => response.end(suite.image.blobs.get(lowest));
    return true;
  };
  const pull = suite.ctr('images', 'pull', ref);
  const snapshots = join(suite.daemon.root, 'io.containerd.snapshotter.v1.overlayfs/snapshots');
  const isUnpacked = (file: string): boolean => {
    return readdirSync(snapshots).some((id) => {
      const path = join(snapshots, id, 'fs', file);
      return existsSync(path) && statSync(path).size === 640_000;
    });
  };
  const deadlineMs = performance.now() + 20_000;
  while (!(isUnpacked('b') && isUnpacked('c') && release !== undefined)) {
    assert.ok(performance.now() < deadlineMs, 'the upper layers wait for the lowest one');
    await delay(20); // there is no event for what another process writes
  }
  assert.equal(isUnpacked('a'), false);
  release();
  ok(await pull);
  assert.ok(isUnpacked('a'));
});

test('hosts.toml: a mirror is tried first, the registry after it', {
  skip: skipPulls,
}, async () => {
  await using mirror = await TestRegistry.start();
  const ref = suite.registry.add(suite.image, 'some/image');
  const hosts = join(suite.dir, 'certs.d', suite.registry.host.replace(/:(\d+)$/, '_$1_'));
  mkdirSync(hosts, { recursive: true });
  const toml = `server = "http://${suite.registry.host}"\n[host."http://${mirror.host}"]\ncapabilities = ["pull", "resolve"]\n`;
  writeFileSync(join(hosts, 'hosts.toml'), toml);
  const pull = ['images', 'pull', '--hosts-dir', join(suite.dir, 'certs.d'), ref];
  ok(await suite.ctr(...pull)); // the mirror has nothing
  assert.ok(mirror.seen.length > 0 && suite.registry.seen.length > 0);
  ok(await suite.ctr('images', 'rm', '--sync', ref));
  mirror.add(suite.image, 'some/image');
  suite.registry.seen.length = 0;
  ok(await suite.ctr(...pull));
  assert.deepEqual(suite.registry.seen, []);
  ok(await suite.ctr('images', 'rm', '--sync', ref));
  writeFileSync(join(hosts, 'hosts.toml'), `${toml}skip_verfy = true\n`);
  await suite.refusedPull(
    pull.slice(2),
    /hosts\.toml:4: skip_verfy is not a key of hosts\.toml: invalid argument$/,
  );
});

test('Debian’s docker-registry: push, and pull again', {
  skip: skipPulls || peer('docker-registry').skip,
}, async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  const config = join(suite.dir, 'registry.yml');
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${suite.dir}/registry}}\nhttp: {addr: "127.0.0.1:${port}"}\n`,
  );
  const { path, env } = peer('docker-registry');
  const child = spawn(path, ['serve', config], { env, stdio: 'ignore' });
  try {
    await answers(port);
    const source = 'example.com/pushed/image:1';
    const archive = join(suite.dir, 'push.tar');
    const named = await buildImage({
      name: source,
      layers: [[{ path: 'p', kind: 'file', content: Buffer.from('pushed') }]],
    });
    writeFileSync(archive, await imageArchive(named));
    ok(await suite.ctr('images', 'import', archive));
    for (const mode of [[], ['--local']]) {
      const ref = `127.0.0.1:${port}/pushed/image${mode.length}:1`;
      ok(await suite.ctr('images', 'tag', source, ref));
      ok(await suite.ctr('images', 'push', '--plain-http', ...mode, ref));
    }
    ok(
      await suite.ctr(
        'images',
        'rm',
        '--sync',
        source,
        `127.0.0.1:${port}/pushed/image0:1`,
        `127.0.0.1:${port}/pushed/image1:1`,
      ),
    );
    await waitUntilNothingIsLeft(suite.daemon);
    for (const [, pull] of modes) {
      for (const name of ['image0', 'image1']) {
        const ref = `127.0.0.1:${port}/pushed/${name}:1`;
        ok(await pull(ref));
        assert.ok(ok(await suite.ctr('images', 'ls')).includes(named.manifestDigest));
        ok(await suite.ctr('images', 'rm', '--sync', ref));
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

test('an image of several platforms: this machine’s layers, all metadata', {
  skip: skipPulls,
}, async () => {
  suite.registry.add(suite.image, 'some/image');
  const other = await buildImage({
    name: 'x',
    architecture: 'riscv64',
    layers: [[{ path: 'r', kind: 'file', content: Buffer.from('r') }]],
  });
  suite.registry.add(other, 'some/image', 'other');
  const entry = ({ manifestDigest, blobs }: BuiltImage, architecture: string): object => ({
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: manifestDigest,
    size: blobs.get(manifestDigest)?.length,
    platform: { os: 'linux', architecture },
  });
  const here = process.arch === 'x64' ? 'amd64' : process.arch;
  suite.registry.addManifest(
    'multi',
    INDEX,
    imageIndex(entry(other, 'riscv64'), entry(suite.image, here)),
  );
  const ref = `${suite.registry.host}/some/image:multi`;
  ok(await suite.ctr('images', 'pull', ref));
  const stored = ok(await suite.ctr('content', 'ls', '-q')).split('\n');
  assert.ok(stored.includes(suite.image.layerDigests[0] ?? ''));
  assert.ok(stored.includes(other.manifestDigest) && stored.includes(other.configDigest));
  assert.ok(!stored.includes(other.layerDigests[0] ?? ''), 'a layer of another platform');
  ok(await suite.ctr('images', 'rm', '--sync', ref));
  await suite.refusedPull(
    ['--platform', 'linux/s390x', ref],
    /^ctr: pull .*: no manifest for platform linux\/s390x: not found$/,
  );
});
