// Layers of every kind of file, unpacked by containerd and by us: the trees are the same. And back again: what a snapshot
// changes, as a layer.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type CtrResult, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import {
  directory,
  type EntryInput,
  file,
  hardLink,
  layerOf,
  symlink,
} from '../fixtures/layer-entries.ts';
import { layerTar } from '../fixtures/oci-image.ts';
import { peer } from '../peers/index.ts';

const skip = skipWithout('tscontainerd') || skipWithout('containerd-2.1') || peer('ctr-2.1').skip;
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';

let ours: TestDaemon;
let theirs: TestDaemon;
let dir: string;
before(async () => {
  if (skip !== false) return;
  [ours, theirs] = await Promise.all([
    TestDaemon.start('tscontainerd'),
    TestDaemon.start('containerd-2.1'),
  ]);
  dir = mkdtempSync(join(tmpdir(), 'layers-'));
});
after(async () => {
  if (skip !== false) return;
  await Promise.all([ours[Symbol.asyncDispose](), theirs[Symbol.asyncDispose]()]);
  rmSync(dir, { recursive: true });
});

function ok(result: CtrResult): string {
  assert.equal(result.status, 0, result.stderr);
  return result.stdout;
}

/** An image archive of uncompressed layers, as they are. */
async function archiveOf(name: string, layers: readonly Buffer[]): Promise<Buffer> {
  const blobs = new Map<string, Buffer>();
  const sha = (bytes: Buffer): string =>
    `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const put = (mediaType: string, content: Buffer): object => {
    blobs.set(sha(content), content);
    return { mediaType, digest: sha(content), size: content.length };
  };
  const json = (mediaType: string, value: object): object =>
    put(mediaType, Buffer.from(JSON.stringify(value)));
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const config = json('application/vnd.oci.image.config.v1+json', {
    os: 'linux',
    architecture,
    config: {},
    rootfs: { type: 'layers', diff_ids: layers.map(sha) },
  });
  const manifest = json('application/vnd.oci.image.manifest.v1+json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config,
    layers: layers.map((layer) => put(LAYER, gzipSync(layer))),
  });
  const annotations = { 'io.containerd.image.name': name };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  const entry = (path: string, content: Buffer) => ({ path, kind: 'file' as const, content });
  return await layerTar([
    entry('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}')),
    entry('index.json', Buffer.from(JSON.stringify(index))),
    ...[...blobs].map(([digest, content]) => entry(`blobs/${digest.replace(':', '/')}`, content)),
  ]);
}

const capability = Buffer.from([1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0]);
const rich: EntryInput[] = [
  directory('bin', 0o755),
  { ...file('bin/suid', 'x'), mode: 0o4755, uid: 12, gid: 34 },
  {
    ...file('bin/capable', 'x'),
    mode: 0o755,
    xattrs: new Map([['security.capability', capability]]),
  },
  { ...hardLink('bin/linked', 'bin/suid'), mode: 0o4755, uid: 12, gid: 34 },
  { ...file('bin/said-twice', 'x'), mode: 0o700 },
  { ...hardLink('bin/other-name', 'bin/said-twice'), mode: 0o755, uid: 3 },
  symlink('bin/absolute', '/etc/target'),
  symlink('sbin', 'bin'),
  { ...directory('tmp', 0o1777), uid: 5, gid: 6, mtimeNs: 1_234_567_890_000_000_000n },
  { path: 'dev/null', type: 'character-device', devMajor: 1, devMinor: 3, mode: 0o666 },
  { path: 'dev/loop', type: 'block-device', devMajor: 7, devMinor: 300, mode: 0o660, gid: 6 },
  { path: 'run/fifo', type: 'fifo', mode: 0o600 },
  {
    ...file('etc/attributes', 'x'),
    xattrs: new Map([
      ['user.one', Buffer.from('1')],
      ['trusted.two', Buffer.from([0, 255])],
    ]),
  },
  { ...file(`etc/${'n'.repeat(200)}`, 'long'), mtimeNs: 987_654_321_000_000_000n },
  file('etc/caf\xc3\xa9', 'utf-8'),
  file('etc/\xff\xfe', 'not utf-8'),
  { ...file('etc/time', 'x'), mtimeNs: 1_500_000_000_000_000_000n },
  file('deep/er/file', 'parents that have no entry'),
];
const changes: EntryInput[] = [
  file('bin/.wh.capable'),
  file('etc/.wh.time'),
  directory('tmp', 0o755),
  file('deep/.wh..wh..opq'),
  file('deep/new', 'after the opaque whiteout'),
  file('sbin', 'a link became a file'),
  directory('run/fifo', 0o700),
  file('run/fifo/inside', 'a fifo became a directory'),
];

/** Stacks of layers whose result is to be the same. */
const stacks: [string, EntryInput[][]][] = [
  ['all kinds of files', [rich]],
  ['changes of a lower layer', [rich, changes]],
  ['a whiteout of a directory', [[file('d/a', 'a'), file('d/b/c', 'c')], [file('.wh.d')]]],
  [
    'a directory deleted and made anew',
    [[file('d/old', 'x')], [file('.wh.d')], [directory('d'), file('d/new', 'y')]],
  ],
  [
    'an opaque directory',
    [
      [file('d/old', 'x'), file('d/sub/old', 'x')],
      [directory('d'), file('d/.wh..wh..opq'), file('d/new', 'y')],
    ],
  ],
  ['a file over a directory', [[file('d/a', 'a')], [file('d', 'now a file')]]],
  ['a directory over a file', [[file('f', 'a')], [directory('f', 0o711), file('f/in', 'b')]]],
  ['a file over a link', [[symlink('l', 'target'), file('target', 't')], [file('l', 'own')]]],
  [
    'a parent with attributes of its own',
    [[{ ...directory('p', 0o2770), uid: 77, gid: 88 }], [file('p/child', 'x')]],
  ],
  [
    'parents whose attributes are those of layers further down',
    [
      [{ ...directory('p', 0o2770), uid: 77, gid: 88 }, directory('p/q', 0o711)],
      [file('p/q/child', 'x'), { ...directory('p/r', 0o701), uid: 9 }],
      [file('p/r/child', 'y'), file('p/new/er', 'z')],
      [{ ...directory('p/r', 0o755), uid: 10 }, file('p/q/child', 'again')],
    ],
  ],
  [
    'entries in any spelling',
    [[file('./a', '1'), file('b//c', '2'), file('/d', '3'), file('e/../f', '4')]],
  ],
  ['an entry for the root', [[directory('./', 0o700), file('x', 'x')]]],
  [
    'the same path twice',
    [
      [
        file('x', 'first'),
        file('x', 'second'),
        directory('y'),
        { ...directory('y', 0o700), uid: 3 },
      ],
    ],
  ],
  ['a hard link across directories', [[file('a/f', 'x'), hardLink('b/g', 'a/f')]]],
  ['a hard link to a symlink', [[symlink('s', 'nowhere'), hardLink('t', 's')]]],
];

/** All that can be seen of a tree: kinds, modes, owners, sizes, times, links, devices, attributes, contents. */
function fingerprint(root: string): string {
  const script = [
    "find . -mindepth 1 -printf '%P|%y|%m|%U:%G|%n|%l|' -exec stat -c '%s|%t:%T|' {} ';' | sed 's/^/ /'",
    // Times of directories that have no entry are those of the moment.
    "find . -mindepth 1 ! -type d -printf '%P %T@\\n'",
    'find . -type f -exec sha256sum {} +',
    'find . -type f -exec /usr/sbin/getcap {} + 2>/dev/null || true',
  ].map((part) => `${part} | LC_ALL=C sort -z`);
  const output = execFileSync('sh', ['-c', script.join('\n')], { cwd: root, encoding: 'latin1' });
  return output
    .split('\n')
    .sort()
    .join('\n')
    .replaceAll(/\|d(\|[^|]*\|[^|]*\|)[0-9]+\|\|[0-9]+/g, '|d$1');
}

/** With `--local` the client unpacks one layer after the other, else the daemon does, side by side where it can. */
function unpacked(
  daemon: TestDaemon,
  archive: string,
  name: string,
  snapshotter: string,
  mode: '--local' | '--local=false' = '--local',
): string {
  ok(daemon.ctr('ctr-2.1', ['images', 'import', mode, '--snapshotter', snapshotter, archive]));
  const target = join(dir, 'view');
  mkdirSync(target, { recursive: true });
  ok(daemon.ctr('ctr-2.1', ['images', 'mount', '--snapshotter', snapshotter, name, target]));
  try {
    return fingerprint(target);
  } finally {
    ok(daemon.ctr('ctr-2.1', ['images', 'unmount', '--snapshotter', snapshotter, '--rm', target]));
    ok(daemon.ctr('ctr-2.1', ['images', 'rm', '--sync', name]));
  }
}

for (const [what, layers] of stacks) {
  test(`${what}: the tree is containerd’s, with overlayfs and native`, { skip }, async () => {
    const name = 'example.com/layers:1';
    const archive = join(dir, 'layers.tar');
    writeFileSync(archive, await archiveOf(name, layers.map(layerOf)));
    const expected = unpacked(theirs, archive, name, 'overlayfs');
    assert.equal(unpacked(ours, archive, name, 'overlayfs'), expected);
    assert.equal(unpacked(ours, archive, name, 'native'), expected);
    assert.equal(unpacked(ours, archive, name, 'overlayfs', '--local=false'), expected);
    assert.equal(unpacked(ours, archive, name, 'native', '--local=false'), expected);
  });
}

test('entries below a link of a lower layer go where it leads, however they are unpacked', {
  skip,
}, async () => {
  const layers = [
    [directory('d', 0o711), symlink('l', 'd'), symlink('up', '/l')],
    [file('l/through', 'x')],
    [file('up/through-both', 'y'), file('d/direct', 'z')],
  ];
  const name = 'example.com/layers:1';
  const archive = join(dir, 'layers.tar');
  writeFileSync(archive, await archiveOf(name, layers.map(layerOf)));
  const expected = unpacked(ours, archive, name, 'native');
  for (const line of [' d/through|f|644|', ' d/through-both|f|644|', ' l|l|777|', ' up|l|777|']) {
    assert.ok(expected.includes(line), expected);
  }
  assert.equal(unpacked(ours, archive, name, 'overlayfs'), expected);
  assert.equal(unpacked(ours, archive, name, 'overlayfs', '--local=false'), expected);
});

for (const snapshotter of ['overlayfs', 'native']) {
  test(`${snapshotter}: what a snapshot changes is the layer that containerd makes`, {
    skip,
  }, async () => {
    const name = 'example.com/layers:1';
    const archive = join(dir, 'layers.tar');
    writeFileSync(archive, await archiveOf(name, [layerOf(rich)]));
    const change = [
      'rm bin/capable',
      'echo new > etc/new',
      'chmod 700 tmp',
      'chown 9:9 etc/time',
      'ln etc/new etc/newer',
      'ln -s there etc/link',
      'rm -r deep',
      'mkfifo pipe',
      'mkdir -p a/b/c',
      'touch -d 2020-01-02T03:04:05Z etc/new a/b/c a/b a pipe',
    ].join(' && ');
    const listing = (daemon: TestDaemon): string[] => {
      const ctr = (...args: string[]): string => ok(daemon.ctr('ctr-2.1', args));
      ctr('images', 'import', '--local', '--snapshotter', snapshotter, archive);
      const base =
        ctr('snapshots', '--snapshotter', snapshotter, 'ls').match(/sha256:[0-9a-f]{64}/)?.[0] ??
        '';
      const target = join(dir, 'changed');
      mkdirSync(target, { recursive: true });
      const mounts = ctr(
        'snapshots',
        '--snapshotter',
        snapshotter,
        'prepare',
        '--target',
        target,
        'work',
        base,
      );
      execFileSync('sh', ['-ec', `${mounts}\ncd ${target} && ${change}\ncd / && umount ${target}`]);
      const { path, env } = peer('ctr-2.1');
      const layer = execFileSync(
        path,
        ['--address', daemon.address, 'snapshots', '--snapshotter', snapshotter, 'diff', 'work'],
        { env },
      );
      ctr('snapshots', '--snapshotter', snapshotter, 'rm', 'work');
      ctr('images', 'rm', '--sync', name);
      // Directories that were only passed through, and times of the moment, are the writer's choice.
      return execFileSync('tar', ['-tvz', '--full-time', '--numeric-owner'], {
        input: layer,
        encoding: 'utf8',
      })
        .split('\n')
        .filter((line) => line !== '' && !/^d.* (?:etc|bin)\/$/.test(line))
        .map((line) =>
          /\.wh\.|tmp\/|etc\/link|etc\/time/.test(line)
            ? line.replace(/\d{4}-\d\d-\d\d \S+ /, '')
            : line,
        )
        .map((line) => line.replace(/^-{10} /, '-'))
        .sort();
    };
    const theirsIs = listing(theirs).map((line) =>
      line.replace(/^-rw-r--r-- (0\/0 +0 .*\.wh\.)/, '-$1'),
    );
    assert.deepEqual(listing(ours), theirsIs);
  });
}
