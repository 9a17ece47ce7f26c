// `tsctr images convert` beside `ctr images convert`, on both daemons: the same image comes out, digest for digest.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type DaemonKind, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { type BuiltImage, buildImage, digestOf, imageArchive } from '../fixtures/oci-image.ts';
import { skipWithoutTsctr, tsctr } from '../fixtures/tsctr.ts';
import { peer } from '../peers/index.ts';

const IMAGE = 'docker.io/library/two:1';
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json';

/** OCI's media types and Docker's for the same. */
const DOCKER_TYPES: readonly (readonly [oci: string, docker: string])[] = [
  [
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
  ],
  ['application/vnd.oci.image.config.v1+json', 'application/vnd.docker.container.image.v1+json'],
  [
    'application/vnd.oci.image.layer.v1.tar+gzip',
    'application/vnd.docker.image.rootfs.diff.tar.gzip',
  ],
];

/** An image for two architectures in Docker's media types. */
async function dockerImage(): Promise<BuiltImage> {
  const blobs = new Map<string, Buffer>();
  const put = (bytes: Buffer) => {
    const digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  };
  const manifests: object[] = [];
  let built: BuiltImage | undefined;
  for (const architecture of ['amd64', 'arm64']) {
    const content = Buffer.from(`for ${architecture}`);
    const layers = ['a', 'b'].map((path) => [{ path, kind: 'file' as const, content }]);
    built = await buildImage({ name: IMAGE, layers, architecture });
    for (const [digest, bytes] of built.blobs) blobs.set(digest, bytes);
    let manifest = built.blobs.get(built.manifestDigest)?.toString() ?? '';
    for (const [oci, docker] of DOCKER_TYPES) manifest = manifest.replaceAll(oci, docker);
    const mediaType = 'application/vnd.docker.distribution.manifest.v2+json';
    // In the order in which Go writes the fields.
    manifests.push({
      mediaType,
      ...put(Buffer.from(manifest)),
      platform: { architecture, os: 'linux' },
    });
  }
  assert.ok(built !== undefined);
  const list = put(
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: DOCKER_LIST, manifests })),
  );
  const annotations = { 'io.containerd.image.name': IMAGE };
  const index = { ...built.index, manifests: [{ mediaType: DOCKER_LIST, ...list, annotations }] };
  return { ...built, blobs, index };
}

const FLAGS = [
  '--oci',
  '--uncompress',
  '--oci --uncompress --all-platforms',
  '--oci --platform linux/arm64',
  '--all-platforms',
];

for (const kind of ['containerd-2.1', 'tscontainerd'] satisfies DaemonKind[]) {
  const skip = skipWithout(kind) || skipWithoutTsctr || peer('ctr-2.1').skip;
  describe(kind, { skip }, () => {
    const dir = mkdtempSync(join(tmpdir(), 'tsctr-convert-'));
    let daemon: TestDaemon;
    const run = (...args: string[]): string => {
      const { status, stdout, stderr } = tsctr(['-a', daemon.address, ...args]);
      assert.equal(status, 0, stderr);
      return stdout;
    };
    const document = (digest: string) =>
      JSON.parse(run('content', 'get', digest)) as {
        mediaType: string;
        manifests?: { digest: string; platform: { architecture: string } }[];
        layers?: { mediaType: string; digest: string }[];
      };
    before(async () => {
      daemon = await TestDaemon.start(kind);
      const archive = join(dir, 'image.tar');
      writeFileSync(archive, await imageArchive(await dockerImage()));
      run('images', 'import', '--all-platforms', '--no-unpack', archive);
    });
    after(async () => {
      await daemon[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true });
    });

    for (const flags of FLAGS) {
      test(`images convert ${flags}: as ctr`, () => {
        const args = ['images', 'convert', ...flags.split(' '), IMAGE];
        const theirs = daemon.ctr('ctr-2.1', [...args, 'ctr.example/converted:1']);
        assert.equal(theirs.status, 0, theirs.stderr);
        assert.equal(run(...args, 'tsctr.example/converted:1'), theirs.stdout);
        assert.match(
          run('images', 'ls', 'name==tsctr.example/converted:1'),
          new RegExp(` ${theirs.stdout.trim()} `),
        );
      });
    }

    test('images convert --zstd: layers of zstd, from which the same archives come again', () => {
      const zstd = run('images', 'convert', '--zstd', '--oci', IMAGE, 'zstd.example/a:1').trim();
      const [manifest, ...others] = document(zstd).manifests ?? [];
      assert.deepEqual([manifest?.platform.architecture, others], ['amd64', []]);
      const { layers = [] } = document(manifest?.digest ?? '');
      const type = 'application/vnd.oci.image.layer.v1.tar+zstd';
      assert.deepEqual(
        layers.map(({ mediaType }) => mediaType),
        [type, type],
      );
      const back = run(
        'images',
        'convert',
        '--uncompress',
        'zstd.example/a:1',
        'plain.example/a:1',
      );
      const direct = run('images', 'convert', '--uncompress', '--oci', IMAGE, 'plain.example/b:1');
      assert.equal(back, direct);
      // All of it is referred to: a collection takes nothing of what was converted.
      run('images', 'rm', '--sync', IMAGE);
      const state = run('images', 'check', 'name~=zstd.example').split('\n')[1];
      assert.match(state ?? '', / complete \(3\/3\) /);
    });

    test('images convert: what cannot be is refused in so many words', () => {
      const refused = (...args: string[]) => {
        const { status, stderr } = tsctr(['-a', daemon.address, 'images', 'convert', ...args]);
        return [status, stderr];
      };
      assert.deepEqual(refused('absent.example/a:1', 'b'), [
        1,
        'tsctr: image "absent.example/a:1": not found\n',
      ]);
      assert.deepEqual(refused('--zstd', '--uncompress', 'a', 'b'), [
        1,
        'tsctr: --uncompress and --zstd exclude each other\n',
      ]);
      assert.deepEqual(refused('only-one'), [
        1,
        'tsctr: src and target image need to be specified\n',
      ]);
    });
  });
}
