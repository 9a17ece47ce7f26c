// Pushes by ctr 2.1 through our daemon and through containerd 2.1, each into a registry of its own: what the registries hold
// afterwards and what they were asked is the same, by the transfer service and by ctr itself (--local).
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { packAny } from '../../internal/api/any.ts';
import { Transfer } from '../../internal/api/generated/containerd.services.transfer.v1.ts';
import { ImageStore, OCIRegistry } from '../../internal/api/generated/containerd.types.transfer.ts';
import { runCtr } from '../fixtures/ctr.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { leftovers } from '../fixtures/leftovers.ts';
import {
  type BuiltImage,
  buildImage,
  changeLayers,
  imageArchive,
  joinImages,
} from '../fixtures/oci-image.ts';
import { PushRegistry } from '../fixtures/push-registry.ts';
import { refuse, TestRegistry } from '../fixtures/registry.ts';
import { peer } from '../peers/index.ts';

const skip = skipWithout('tscontainerd') || skipWithout('containerd-2.1') || peer('ctr-2.1').skip;

const INDEX = 'example.com/index/image:1';
const SINGLE = 'example.com/single/image:1';
const FOREIGN = 'example.com/foreign/image:1';
const TYPES = {
  ordinary: 'application/vnd.oci.image.layer.v1.tar+gzip',
  nondistributable: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  foreign: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
};
const KINDS = ['tscontainerd', 'containerd-2.1'] as const;
const MODES = [[], ['--local']] as const;

let parts: BuiltImage[];
let index: BuiltImage;
const daemons = new Map<(typeof KINDS)[number], TestDaemon>();
before(async () => {
  if (skip !== false) return;
  parts = await Promise.all(
    ['amd64', 'arm64'].map((architecture) => {
      const content = Buffer.from(architecture.repeat(1000));
      const layers = ['a', 'b'].map((path) => [{ path, kind: 'file' as const, content }]);
      return buildImage({ name: SINGLE, layers, architecture });
    }),
  );
  index = joinImages(INDEX, parts);
  const single = parts[0] as BuiltImage;
  const foreign = named(FOREIGN, withLayers(single, TYPES.nondistributable, 'https://far.invalid'));
  const dir = mkdtempSync(join(tmpdir(), 'push-twins-'));
  for (const kind of KINDS) {
    const daemon = await TestDaemon.start(kind);
    daemons.set(kind, daemon);
    for (const image of [index, single, foreign]) {
      const archive = join(dir, 'image.tar');
      writeFileSync(archive, await imageArchive(image));
      const words = ['images', 'import', '--all-platforms', '--no-unpack', archive];
      const { status, stderr } = await runCtr('ctr-2.1', daemon.address, words);
      assert.equal(status, 0, stderr);
    }
  }
  rmSync(dir, { recursive: true });
});
after(async () => {
  for (const daemon of daemons.values()) await daemon[Symbol.asyncDispose]();
});

function named(name: string, image: BuiltImage): BuiltImage {
  const [entry] = image.index['manifests'] as object[];
  const annotations = { 'io.containerd.image.name': name };
  return { ...image, name, index: { ...image.index, manifests: [{ ...entry, annotations }] } };
}

/** The image with layers of another type that are also at `host`. */
function withLayers(image: BuiltImage, mediaType: string, host: string): BuiltImage {
  return changeLayers(image, (layer) => ({
    ...layer,
    mediaType,
    urls: [`${host}/v2/foreign/blobs/${layer.digest}`],
  }));
}

/** What was asked, in no order, without names and queries, but for mounts. */
function asked(registry: PushRegistry): string[] {
  return registry.seen
    .map((request) => {
      const [, method, kind, mount = ''] =
        /^(\w+) \/v2\/.*?\/(manifests|blobs\/uploads|blobs)\/[^?]*(\?mount=.*)?/.exec(request) ??
        [];
      return `${method} ${kind}${mount}`;
    })
    .sort();
}

/** A new registry for each daemon, and what `push` makes of it. */
async function each<T>(push: (daemon: TestDaemon, registry: PushRegistry) => Promise<T>) {
  const results: T[] = [];
  for (const daemon of daemons.values()) {
    await using registry = await PushRegistry.start();
    results.push(await push(daemon, registry));
    const { ingests, leases } = await leftovers(daemon);
    assert.deepEqual({ ingests, leases }, { ingests: [], leases: [] });
  }
  const [ours, theirs] = results as [T, T];
  return { ours, theirs };
}

/** Arguments of a push to the registry at `host`, and what the push is to end in. */
const PUSHES: readonly [what: string, args: (host: string) => string[], status?: number][] = [
  ['an image', (host) => [`${host}/some/image:1`, SINGLE]],
  ['an index with its manifests', (host) => [`${host}/some/image:1`, INDEX]],
  ['one platform', (host) => ['--platform', 'linux/arm64', `${host}/some/image:1`, INDEX]],
  [
    'several platforms',
    (host) => [
      ...['arm64', 'amd64'].flatMap((arch) => ['--platform', `linux/${arch}`]),
      `${host}/some/image:1`,
      INDEX,
    ],
  ],
  ['layers that are not to be passed on', (host) => [`${host}/some/image:1`, FOREIGN]],
  ['by digest', (host) => [`${host}/some/image@${index.manifestDigest}`, INDEX]],
  ['by tag and digest', (host) => [`${host}/some/image:1@${index.manifestDigest}`, INDEX]],
  [
    'a tag for a manifest of the index',
    (host) => [`${host}/some/image:1@${parts[0]?.manifestDigest}`, INDEX],
  ],
  ['without a tag', (host) => [`${host}/some/image`, INDEX]],
  ['an image that is not there', (host) => [`${host}/some/image:1`, 'nope'], 1],
];

for (const mode of MODES) {
  describe(`ctr images push ${mode.join(' ')}`, { skip }, () => {
    const push = (daemon: TestDaemon, args: readonly string[]) =>
      runCtr('ctr-2.1', daemon.address, ['images', 'push', '--plain-http', ...mode, ...args]);

    for (const [what, args, wanted = 0] of PUSHES) {
      test(`${what}; again: nothing is sent twice`, async () => {
        const { ours, theirs } = await each(async (daemon, registry) => {
          const first = await push(daemon, args(registry.host));
          assert.equal(first.status, wanted, first.stderr);
          const requests = asked(registry);
          registry.seen.length = 0;
          const second = await push(daemon, args(registry.host));
          assert.equal(second.status, wanted, second.stderr);
          const again = asked(registry);
          assert.deepEqual(
            again.filter((request) => !request.startsWith('HEAD')),
            [],
          );
          return { holds: registry.holds(), requests, again };
        });
        assert.deepEqual(ours, theirs);
      });
    }

    test('another tag: the manifest alone', async () => {
      const { ours, theirs } = await each(async (daemon, registry) => {
        for (const tag of ['1', '2']) {
          registry.seen.length = 0;
          const { status, stderr } = await push(daemon, [
            `${registry.host}/some/image:${tag}`,
            SINGLE,
          ]);
          assert.equal(status, 0, stderr);
        }
        return { holds: registry.holds(), requests: asked(registry) };
      });
      assert.deepEqual(ours, theirs);
      assert.deepEqual(
        ours.requests.filter((request) => !request.startsWith('HEAD')),
        ['PUT manifests'],
      );
    });

    test('blobs that came from another repository of the registry are mounted', async () => {
      const { ours, theirs } = await each(async (daemon, registry) => {
        const { host } = registry;
        assert.equal((await push(daemon, [`${host}/one/image:1`, SINGLE])).status, 0);
        await using empty = await TestDaemon.start(daemon.kind);
        const pull = ['images', 'pull', '--plain-http', ...mode, `${host}/one/image:1`];
        const pulled = await runCtr('ctr-2.1', empty.address, pull);
        assert.equal(pulled.status, 0, pulled.stderr);
        registry.seen.length = 0;
        const pushed = await push(empty, [`${host}/two/image:1`, `${host}/one/image:1`]);
        assert.equal(pushed.status, 0, pushed.stderr);
        return { holds: registry.holds(), requests: asked(registry) };
      });
      assert.deepEqual(ours, theirs);
      const sent = ours.requests.filter((request) => /^(?:PUT|POST)/.test(request));
      assert.equal(
        sent.filter((request) => /\?mount=sha256:[0-9a-f]{64}&from=one\/image$/.test(request))
          .length,
        3,
      );
      assert.equal(sent.length, 4, 'and the manifest');
    });

    test('an image of which not all was pulled: only what is here can be pushed', async () => {
      await using source = await TestRegistry.start();
      for (const image of parts) source.add(image, 'some/image');
      const bytes = index.blobs.get(index.manifestDigest);
      assert.ok(bytes !== undefined);
      source.addManifest('index', 'application/vnd.oci.image.index.v1+json', bytes);
      const ref = `${source.host}/some/image:index`;
      const { ours, theirs } = await each(async ({ kind }, registry) => {
        await using empty = await TestDaemon.start(kind);
        const pull = ['images', 'pull', '--plain-http', '--platform', 'linux/amd64', ref];
        assert.equal((await runCtr('ctr-2.1', empty.address, pull)).status, 0);
        const all = await push(empty, [`${registry.host}/all/image:1`, ref]);
        assert.match(all.stderr, /content digest sha256:[0-9a-f]{64}: not found\n$/);
        const one = await push(empty, [
          '--platform',
          'linux/amd64',
          `${registry.host}/one/image:1`,
          ref,
        ]);
        assert.equal(one.status, 0, one.stderr);
        const holds = registry.holds();
        // Of the one that failed some blobs may have arrived.
        assert.deepEqual(holds.find(({ name }) => name === 'all/image')?.manifests ?? [], []);
        return { status: all.status, holds: holds.filter(({ name }) => name !== 'all/image') };
      });
      assert.deepEqual(ours, theirs);
    });
  });
}

type Answer = (request: IncomingMessage, response: ServerResponse) => boolean;

/** Answers requests of a kind with an error, the first `times` of them. */
function failing(method: string, path: RegExp, status: number, times = Infinity): () => Answer {
  return () => {
    let left = times;
    return (request, response) => {
      if (request.method !== method || !path.test(request.url ?? '') || left-- <= 0) return false;
      request.resume();
      if (status === 0) request.socket.destroy();
      else refuse(response, status, 'SOME', 'no');
      return true;
    };
  };
}

const UPLOADS = /\/blobs\/uploads\//;
/** What goes wrong; gRPC's code of ours, and of containerd, which has Unknown for all that a registry answers. */
const FAILURES: readonly [what: string, make: () => Answer, code: number, original: number][] = [
  ['401', failing('HEAD', /./, 401), 16, 2],
  ['403', failing('POST', UPLOADS, 403), 7, 2],
  ['404', failing('POST', UPLOADS, 404), 5, 2],
  ['405', failing('HEAD', /./, 405), 2, 2],
  ['500', failing('POST', UPLOADS, 500), 14, 2],
  ['503 for a blob', failing('PUT', UPLOADS, 503), 14, 2],
  ['400 for the manifest', failing('PUT', /\/manifests\//, 400), 2, 2],
  ['a connection that is cut while a blob is sent', failing('PUT', UPLOADS, 0), 14, 2],
  ['connections that are cut at once', failing('HEAD', /./, 0), 14, 2],
];
describe('pushes that fail', { skip }, () => {
  /** The code of a push by the transfer service; 0 when it succeeds. */
  async function codeOf(daemon: TestDaemon, reference: string): Promise<number> {
    const connection = new GrpcConnection(daemon.address, 'default');
    try {
      await connection.service(Transfer).transfer({
        source: packAny(ImageStore, { name: SINGLE }),
        destination: packAny(OCIRegistry, { reference, resolver: { defaultScheme: 'http' } }),
      });
      return 0;
    } catch (error) {
      return (error as { code: number }).code;
    } finally {
      connection.close();
    }
  }

  for (const [what, make, code, original] of FAILURES) {
    test(`${what}: nothing has the tag, nothing is left here`, async () => {
      const { ours, theirs } = await each(async (daemon, registry) => {
        registry.misbehave = make();
        const found = await codeOf(daemon, `${registry.host}/some/image:1`);
        const tags = registry.holds().flatMap(({ manifests }) => manifests);
        return { code: found, tags };
      });
      assert.deepEqual(ours, { code, tags: [] });
      assert.deepEqual(theirs, { code: original, tags: [] });
    });
  }

  // Containerd gives up at the first of these.
  for (const [what, make] of [
    ['500', failing('POST', UPLOADS, 500, 2)],
    ['503 for a blob', failing('PUT', UPLOADS, 503, 2)],
    ['429', failing('POST', UPLOADS, 429, 2)],
    ['a connection that is cut', failing('PUT', UPLOADS, 0, 2)],
    ['503 for the manifest', failing('PUT', /\/manifests\//, 503, 2)],
  ] as const) {
    test(`${what}, twice: the push goes on`, async () => {
      const daemon = daemons.get('tscontainerd');
      assert.ok(daemon !== undefined);
      await using registry = await PushRegistry.start();
      registry.misbehave = make();
      assert.equal(await codeOf(daemon, `${registry.host}/some/image:1`), 0);
      const [{ blobs, manifests } = { blobs: [], manifests: [] }] = registry.holds();
      assert.deepEqual(
        [blobs.length, manifests.map(({ key }) => key.slice(0, 6))],
        [3, ['1', 'sha256']],
      );
    });
  }
});

describe('layers that descriptors say are elsewhere too (`urls`)', { skip }, () => {
  for (const mode of MODES) {
    for (const [type, mediaType] of Object.entries(TYPES)) {
      for (const where of ['there', 'in the registry', 'in both', 'nowhere'] as const) {
        test(`images pull ${mode.join(' ')}: ${type} layers, ${where}; then push`, async () => {
          await using registry = await TestRegistry.start();
          await using elsewhere = await TestRegistry.start();
          const image = withLayers(parts[0] as BuiltImage, mediaType, `http://${elsewhere.host}`);
          for (const [digest, content] of image.blobs) {
            const isLayer = image.layerDigests.includes(digest);
            if (!isLayer || where.startsWith('in')) registry.addBlob(digest, content);
            if (isLayer && /there|both/.test(where)) elsewhere.addBlob(digest, content);
          }
          const manifest = image.blobs.get(image.manifestDigest) as Buffer;
          registry.addManifest('1', 'application/vnd.oci.image.manifest.v1+json', manifest);
          const { ours, theirs } = await each(async ({ kind }, target) => {
            await using empty = await TestDaemon.start(kind);
            const ref = `${registry.host}/some/image:1`;
            const http = ['--plain-http', '--user', 'user:secret', ...mode];
            const pull = ['images', 'pull', '--platform', 'linux/amd64', ...http, ref];
            const { status } = await runCtr('ctr-2.1', empty.address, pull);
            const push = ['images', 'push', ...http, `${target.host}/some/image:1`, ref];
            const pushed = await runCtr('ctr-2.1', empty.address, push);
            const seen = elsewhere.seen.splice(0);
            assert.deepEqual(seen.map(({ authorization }) => authorization).filter(Boolean), []);
            // Ours asks elsewhere only for what the registry lacks.
            const isAsked = mode.length > 0 || !where.startsWith('in');
            if (kind === 'tscontainerd') assert.equal(seen.length > 0, isAsked);
            return { pull: status, push: pushed.status, holds: target.holds() };
          });
          assert.deepEqual(ours, theirs);
          assert.equal(ours.pull, where === 'nowhere' ? 1 : 0);
        });
      }
    }
  }
});
