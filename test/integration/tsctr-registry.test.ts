// Each flag by which tsctr is told how to speak to a registry, for each command that does: what it brings, and what goes wrong
// without it, with Debian's docker-registry. And the flags of a pull and a push that say what of an image is wanted.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Certificate, makeCertificate, skipCertificates } from '../fixtures/certificates.ts';
import { type CtrResult, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { DockerRegistry } from '../fixtures/docker-registry.ts';
import {
  type BuiltImage,
  buildImage,
  changeLayers,
  imageArchive,
  joinImages,
} from '../fixtures/oci-image.ts';
import { PushRegistry } from '../fixtures/push-registry.ts';
import { TokenServer } from '../fixtures/token-server.ts';
import { runTsctr, skipWithoutTsctr } from '../fixtures/tsctr.ts';
import { peer } from '../peers/index.ts';

const skip =
  skipWithout('tscontainerd') ||
  skipWithoutTsctr ||
  peer('docker-registry').skip ||
  skipCertificates;

const SOURCE = 'example.com/source/image:1';
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';
const FOREIGN = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
const here = process.arch === 'x64' ? 'amd64' : process.arch;
const elsewhere = here === 'amd64' ? 'arm64' : 'amd64';

let dir: string;
let server: Certificate;
let daemon: TestDaemon;
/** For two platforms: this machine's and another one. */
let image: BuiltImage;
let platforms: Map<string, BuiltImage>;
before(async () => {
  if (skip !== false) return;
  dir = mkdtempSync(join(tmpdir(), 'tsctr-registry-'));
  server = makeCertificate(dir, 'server');
  daemon = await TestDaemon.start('tscontainerd');
  platforms = new Map();
  for (const architecture of [here, elsewhere]) {
    const content = Buffer.from(`for ${architecture}`.repeat(100));
    const layers = ['a', 'b'].map((path) => [{ path, kind: 'file' as const, content }]);
    platforms.set(architecture, await buildImage({ name: 'unused', layers, architecture }));
  }
  image = joinImages(SOURCE, [...platforms.values()]);
  await importInto(daemon, image);
});
after(async () => {
  if (skip !== false) return;
  await daemon[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
});

async function importInto(on: TestDaemon, built: BuiltImage): Promise<void> {
  const archive = join(dir, 'image.tar');
  writeFileSync(archive, await imageArchive(built));
  ok(await tsctr(on, 'images import --all-platforms --no-unpack', archive));
}

/** Words of `command`, then `args`. */
function tsctr(on: TestDaemon, command: string, ...args: string[]): Promise<CtrResult> {
  return runTsctr(['-a', on.address, ...command.split(' '), ...args]);
}

function ok({ status, stdout, stderr }: CtrResult): string {
  assert.equal(status, 0, stderr);
  return stdout;
}

const part = (architecture: string): BuiltImage => {
  const found = platforms.get(architecture);
  assert.ok(found !== undefined);
  return found;
};

/** All commands that speak to a registry, each with what it is given after its flags. Pushes come first. */
function commands(ref: string): [command: string, ...args: string[]][] {
  const [layer = ''] = part(here).layerDigests;
  return [
    ['images push', ref, SOURCE],
    ['images push --local', ref, SOURCE],
    ['content push-object', ref.replace('image', 'object'), layer, LAYER],
    ['images pull', ref],
    ['images pull --local', ref],
    ['content fetch', ref],
    ['content fetch --metadata-only', ref],
    ['content fetch-object', ref],
    ['content fetch-blob', ref, layer],
  ];
}

/** Each command fails with `without` in the words of `error`, and does its work with `flags`. */
async function each(
  ref: string,
  flags: readonly string[],
  without: readonly string[],
  error: RegExp,
): Promise<void> {
  for (const [command, ...args] of commands(ref)) {
    const refused = await tsctr(daemon, command, ...without, ...args);
    assert.equal(refused.status, 1, command);
    assert.match(refused.stderr, error, command);
    assert.equal(refused.stdout, '', command);
    const { status, stderr } = await tsctr(daemon, command, ...flags, ...args);
    assert.equal(status, 0, `${command}: ${stderr}`);
  }
}

describe('flags of all commands that speak to a registry', { skip }, () => {
  test('--plain-http: no TLS for a host that is not known to be this machine', async () => {
    await using registry = await DockerRegistry.start(join(dir, 'plain'));
    // To the kernel it is this machine.
    const ref = `${registry.host.replace('127.0.0.1', '0.0.0.0')}/some/image:1`;
    await each(ref, ['--plain-http'], [], /TLS: wrong version number/);
  });

  test('--tlscacert, --skip-verify: a registry of an unknown authority', async () => {
    await using registry = await DockerRegistry.start(join(dir, 'tls'), { tls: server });
    const [first, second] = [1, 2].map((tag) => `${registry.host}/tls${tag}/image:1`);
    const wrong = /400 Bad Request.*: if the registry has TLS, name it as https:/;
    await each(first ?? '', ['--tlscacert', server.certPath], [], wrong);
    await each(second ?? '', ['--skip-verify'], [], wrong);
    for (const [command, ...args] of commands(second ?? '').slice(3))
      ok(await tsctr(daemon, command, '-k', ...args));
  });

  test('--tlscert, --tlskey: a registry that wants to know the client', async () => {
    const client = makeCertificate(dir, 'client');
    const options = { tls: server, clientCaPath: client.certPath };
    await using registry = await DockerRegistry.start(join(dir, 'mutual'), options);
    const ca = ['--tlscacert', server.certPath];
    const own = ['--tlscert', client.certPath, '--tlskey', client.keyPath];
    await each(
      `${registry.host}/some/image:1`,
      [...ca, ...own],
      ca,
      /: the registry wants a client certificate: /,
    );
  });

  test('--hosts-dir: where the registry really is, and how to speak to it', async () => {
    await using registry = await DockerRegistry.start(join(dir, 'hosts'), { tls: server });
    const hosts = join(dir, 'certs.d');
    mkdirSync(join(hosts, 'far.invalid'), { recursive: true });
    const toml = `server = "https://${registry.host}"\nca = ${JSON.stringify(server.certPath)}\n`;
    writeFileSync(join(hosts, 'far.invalid/hosts.toml'), toml);
    await each(
      'far.invalid/some/image:1',
      ['--hosts-dir', hosts],
      [],
      /getaddrinfo \w+ far\.invalid: check the name far\.invalid, /,
    );
  });

  test('--user: a password, of the command line or of standard input', async () => {
    const options = { auth: { kind: 'basic' } } as const;
    await using registry = await DockerRegistry.start(join(dir, 'basic'), options);
    const ref = `${registry.host}/some/image:1`;
    const refused = /401 Unauthorized.*: check the user and the password for /;
    await each(ref, ['--user', 'user:secret'], ['-u', 'user:guess'], refused);
    for (const [command, ...args] of commands(ref).slice(3)) {
      const words = ['-a', daemon.address, ...command.split(' '), '-u', 'user', ...args];
      ok(await runTsctr(words, 'secret\n'));
      assert.match((await runTsctr(words, 'guess\n')).stderr, refused, command);
    }
  });

  test('--user, --refresh: tokens of an authorization server', async () => {
    const signer = makeCertificate(dir, 'signer');
    await using tokens = await TokenServer.start(signer);
    const { realm, service, issuer } = tokens;
    const auth = { kind: 'token', realm, service, issuer, certPath: signer.certPath } as const;
    await using registry = await DockerRegistry.start(join(dir, 'token'), { auth });
    const refused = /401 Unauthorized/;
    await each(`${registry.host}/one/image:1`, ['-u', 'user:secret'], [], refused);
    await each(
      `${registry.host}/two/image:1`,
      ['--refresh', 'refresh-me'],
      ['--refresh', 'old'],
      refused,
    );
  });

  test('--http-dump, --http-trace: requests and connections, without what is secret in them', async () => {
    const options = { tls: server, auth: { kind: 'basic' } } as const;
    await using registry = await DockerRegistry.start(join(dir, 'dump'), options);
    const { host } = registry;
    const known = ['-u', 'user:secret', '--tlscacert', server.certPath];
    const ref = `${host}/some/image:1`;
    for (const [command, ...args] of commands(ref)) {
      const quiet = ['content push-object'].includes(command) ? '' : 'shown ';
      assert.doesNotMatch(
        (await tsctr(daemon, command, ...known, ...args)).stderr,
        /HTTP\/1\.1/,
        quiet,
      );
      const flags = [...known, '--http-dump', '--http-trace'];
      const { stdout, stderr } = await tsctr(daemon, command, ...flags, ...args);
      assert.match(
        stderr,
        /^(?:HEAD|GET) \/v2\/some\/(?:image|object)\/\S+ HTTP\/1\.1\nhost: 127\.0\.0\.1:\d+\n/m,
        command,
      );
      assert.match(stderr, /^authorization: …$/m, command);
      assert.match(stderr, /^HTTP\/1\.1 401 Unauthorized$/m, command);
      assert.match(stderr, /^HTTP\/1\.1 200 OK$/m, command);
      assert.match(stderr, /: connected to 127\.0\.0\.1:\d+ after \d+\.\d ms$/m, command);
      assert.match(stderr, /: TLSv1\.3 after \d+\.\d ms$/m, command);
      assert.match(stderr, /: status 200 after \d+\.\d ms$/m, command);
      assert.doesNotMatch(stdout + stderr + daemon.log, /secret|dXNlcjpzZWNyZXQ/, command);
    }
  });

  test('--hosts-dir and flags for TLS contradict each other', async () => {
    for (const [command, ...args] of commands('127.0.0.1:1/some/image:1')) {
      const both = await tsctr(daemon, command, '--hosts-dir', dir, '-k', ...args);
      assert.match(
        both.stderr,
        /^tsctr: --hosts-dir and flags for TLS exclude each other: /,
        command,
      );
    }
  });
});

describe('what of an image is pulled', { skip }, () => {
  let registry: DockerRegistry;
  let ref: string;
  before(async () => {
    registry = await DockerRegistry.start(join(dir, 'pulls'));
    ref = `${registry.host}/some/image:1`;
    ok(await tsctr(daemon, 'images push', ref, SOURCE));
  });
  after(() => registry[Symbol.asyncDispose]());

  /** Blobs and snapshots of an empty daemon after a pull, by what they are. */
  async function pulled(command: string, ...flags: string[]) {
    await using empty = await TestDaemon.start('tscontainerd');
    const stdout = ok(await tsctr(empty, command, ...flags, ref));
    const content = new Set(ok(await tsctr(empty, 'content ls -q')).split('\n'));
    const has = (architecture: string) => {
      const { manifestDigest, configDigest, layerDigests } = part(architecture);
      const documents = [manifestDigest, configDigest].filter((digest) => content.has(digest));
      const layers = layerDigests.filter((digest) => content.has(digest));
      return { documents: documents.length, layers: layers.length };
    };
    const snapshots =
      ok(await tsctr(empty, 'snapshots ls'))
        .trim()
        .split('\n').length - 1;
    const native = ok(await tsctr(empty, 'snapshots --snapshotter native ls'))
      .trim()
      .split('\n');
    const images = JSON.parse(ok(await tsctr(empty, '--format json images ls')));
    return {
      stdout,
      here: has(here),
      elsewhere: has(elsewhere),
      snapshots,
      native: native.length - 1,
      images,
    };
  }

  test('by itself: this platform, unpacked, with the documents of the others', async () => {
    const { here, elsewhere, snapshots } = await pulled('images pull');
    assert.deepEqual(
      [here, elsewhere, snapshots],
      [{ documents: 2, layers: 2 }, { documents: 2, layers: 0 }, 2],
    );
  });

  test('content fetch: the same, but nothing is unpacked', async () => {
    const { here, elsewhere, snapshots } = await pulled('content fetch');
    assert.deepEqual(
      [here, elsewhere, snapshots],
      [{ documents: 2, layers: 2 }, { documents: 2, layers: 0 }, 0],
    );
  });

  for (const command of ['images pull', 'content fetch']) {
    const unpacked = command === 'images pull' ? 2 : 0;
    test(`${command} --platform: another one`, async () => {
      const other = await pulled(command, '--platform', `linux/${elsewhere}`);
      assert.deepEqual(
        [other.here, other.elsewhere, other.snapshots],
        [{ documents: 2, layers: 0 }, { documents: 2, layers: 2 }, unpacked],
      );
    });

    test(`${command} --all-platforms`, async () => {
      const all = await pulled(command, '--all-platforms');
      assert.deepEqual(
        [all.here, all.elsewhere, all.snapshots],
        [{ documents: 2, layers: 2 }, { documents: 2, layers: 2 }, unpacked],
      );
    });

    test(`${command} --skip-metadata: no documents of other platforms`, async () => {
      const { here, elsewhere } = await pulled(command, '--skip-metadata');
      assert.deepEqual(
        [here, elsewhere],
        [
          { documents: 2, layers: 2 },
          { documents: 0, layers: 0 },
        ],
      );
    });

    test(`${command} --label`, async () => {
      const { images } = await pulled(command, '--label', 'a=b', '--label', 'c=d');
      assert.deepEqual([images[0].labels.a, images[0].labels.c], ['b', 'd']);
    });
  }

  test('--print-chainid: of the layers of the platform', async () => {
    const { stdout } = await pulled('images pull', '--print-chainid');
    assert.match(stdout, /^image chain ID: sha256:[0-9a-f]{64}$/m);
  });

  test('--snapshotter: unpacked there', async () => {
    const { snapshots, native } = await pulled('images pull', '--snapshotter', 'native');
    assert.deepEqual([snapshots, native], [0, 2]);
  });
});

describe('what of an image is pushed', { skip }, () => {
  let registry: DockerRegistry;
  before(async () => {
    registry = await DockerRegistry.start(join(dir, 'pushes'));
  });
  after(() => registry[Symbol.asyncDispose]());

  /** The digest that a reference of the registry leads to, and whether it has the blobs. */
  async function there(name: string, digests: readonly string[]) {
    const ref = `${registry.host}/${name}`;
    const head = await fetch(
      `http://${ref.replace('/', '/v2/').replace(/:([^:/]+)$/, '/manifests/$1')}`,
      {
        headers: {
          accept:
            'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json',
        },
      },
    );
    const repository = name.split(':')[0];
    const found = await Promise.all(
      digests.map(async (digest) => {
        const url = `http://${registry.host}/v2/${repository}/blobs/${digest}`;
        return (await fetch(url, { method: 'HEAD' })).status === 200;
      }),
    );
    return { target: head.headers.get('docker-content-digest'), found };
  }

  const layers = (architecture: string) => part(architecture).layerDigests;

  for (const local of ['', ' --local']) {
    test(`images push${local}: all of it`, async () => {
      const name = `all${local.length}/image:1`;
      ok(await tsctr(daemon, `images push${local}`, `${registry.host}/${name}`, SOURCE));
      assert.deepEqual(await there(name, image.layerDigests), {
        target: image.manifestDigest,
        found: [true, true, true, true],
      });
    });
  }

  test('--platform: what a platform needs', async () => {
    const name = 'platform/image:1';
    const flags = ['--platform', `linux/${elsewhere}`];
    ok(await tsctr(daemon, 'images push --local', ...flags, `${registry.host}/${name}`, SOURCE));
    assert.deepEqual(await there(name, [...layers(here), ...layers(elsewhere)]), {
      target: part(elsewhere).manifestDigest,
      found: [false, false, true, true],
    });
  });

  test('--manifest, --manifest-type: a manifest that no image has to name', async () => {
    const { manifestDigest } = part(elsewhere);
    const push = (name: string, ...flags: string[]) =>
      tsctr(
        daemon,
        'images push',
        '--manifest',
        manifestDigest,
        ...flags,
        `${registry.host}/${name}`,
      );
    ok(await push('manifest/image:1'));
    assert.equal((await there('manifest/image:1', [])).target, manifestDigest);
    const wrong = await push(
      'manifest/image:2',
      '--manifest-type',
      'application/vnd.oci.image.index.v1+json',
    );
    assert.match(
      wrong.stderr,
      /mediaType "application\/vnd\.oci\.image\.manifest\.v1\+json" is not application\/vnd\.oci\.image\.index\.v1\+json/,
    );
    assert.match(
      (await tsctr(daemon, 'images push --manifest nonsense', 'x.invalid/y:1')).stderr,
      /^tsctr: invalid checksum digest format\n$/,
    );
  });

  test('--allow-non-distributable-blobs: layers that may not be passed on', async () => {
    const urls = ['https://licensed.invalid/layer'];
    const marked = changeLayers(part(here), (layer) => ({ ...layer, mediaType: FOREIGN, urls }));
    const annotations = { 'io.containerd.image.name': 'example.com/foreign/image:1' };
    const [entry] = marked.index['manifests'] as object[];
    const index = { ...marked.index, manifests: [{ ...entry, annotations }] };
    await importInto(daemon, { ...marked, index });
    for (const [name, flags, isThere] of [
      ['daemon/image:1', [], true],
      ['kept/image:1', ['--local'], false],
      ['passed/image:1', ['--allow-non-distributable-blobs'], true],
    ] as const) {
      const args = [...flags, `${registry.host}/${name}`, 'example.com/foreign/image:1'];
      ok(await tsctr(daemon, 'images push', ...args));
      assert.deepEqual(await there(name, marked.layerDigests), {
        target: marked.manifestDigest,
        found: [isThere, isThere],
      });
    }
  });

  test('--max-concurrent-uploaded-layers: so many blobs at once, all of them without it', async () => {
    const blobs = image.blobs.size - 3; // but the index and its manifests
    await using target = await PushRegistry.start();
    // No place to upload to until all have asked: a push that waits for one of them would hang.
    const waiting: (() => void)[] = [];
    target.misbehave = ({ method }, response) => {
      if (method !== 'POST') return false;
      waiting.push(() =>
        response.writeHead(202, { location: '/v2/a/image/blobs/uploads/x' }).end(),
      );
      if (waiting.length === blobs) for (const answer of waiting) answer();
      return true;
    };
    ok(await tsctr(daemon, 'images push --local', `${target.host}/a/image:1`, SOURCE));
    assert.equal(waiting.length, blobs);
    target.misbehave = () => false;
    target.mostUploads = 0;
    const one = ['--max-concurrent-uploaded-layers', '1'];
    ok(await tsctr(daemon, 'images push', ...one, `${target.host}/b/image:1`, SOURCE));
    assert.equal(target.mostUploads, 1);
    assert.equal(target.holds().find(({ name }) => name === 'b/image')?.blobs.length, blobs);
  });
});

describe('single objects, beside ctr', { skip: skip || peer('ctr-2.1').skip }, () => {
  let registry: DockerRegistry;
  let places: Map<string, string>;
  before(async () => {
    registry = await DockerRegistry.start(join(dir, 'objects'));
    const { manifestDigest, layerDigests } = part(here);
    places = new Map([
      ['HOST', registry.host],
      ['INDEX', image.manifestDigest],
      ['MANIFEST', manifestDigest],
      ['LAYER', layerDigests[0] ?? ''],
      ['OTHER', layerDigests[1] ?? ''],
      ['NONE', `sha256:${'0'.repeat(64)}`],
      ['TYPE', 'application/vnd.oci.image.manifest.v1+json'],
    ]);
    ok(await tsctr(daemon, 'images push', `${registry.host}/some/image:1`, SOURCE));
  });
  after(() => registry[Symbol.asyncDispose]());

  /** In order, each for both clients; @ is another repository for each of them. What an error ends with. */
  const COMMANDS: readonly [args: string, error?: RegExp][] = [
    ['fetch-object HOST/some/image:1'],
    ['fetch-object HOST/some/image@MANIFEST'],
    ['fetch-object HOST/some/image@LAYER'],
    ['fetch-object HOST/some/image:nope', /not found/i],
    ['fetch-object HOST/some/image', /object required/],
    ['fetch-object'],
    ['fetch-blob HOST/some/image:1 LAYER'],
    ['fetch-blob HOST/some/image:1 LAYER OTHER'],
    ['fetch-blob HOST/some/image:1 MANIFEST', /404 Not Found/],
    ['fetch-blob --media-type TYPE HOST/some/image:1 MANIFEST'],
    ['fetch-blob HOST/some/image:1', /^(?:ts)?ctr: must specify digests$/],
    ['fetch-blob HOST/some/image:1 nonsense', /: invalid checksum digest format$/],
    ['fetch-blob HOST/some/image:1 LAYER NONE', /404 Not Found/],
    [`push-object HOST/@/image:1 LAYER ${LAYER}`],
    [`push-object HOST/@/image:1 LAYER ${LAYER}`, /content LAYER on remote: already exists/],
    [
      'push-object HOST/@/image:1 MANIFEST TYPE',
      /400 Bad Request(?:: |\n(?:errors:\n)?unknown: )blob unknown to registry/,
    ],
    ['push-object HOST/some/image:@ MANIFEST TYPE'],
    ['push-object HOST/some/image:@ MANIFEST TYPE', /content MANIFEST on remote: already exists/],
    ['push-object HOST/some/image MANIFEST TYPE', /content MANIFEST on remote: already exists/],
    ['push-object HOST/@/image:1 LAYER'],
    ['push-object HOST/@/image:1 nonsense x/y', /^(?:ts)?ctr: invalid checksum digest format$/],
    ['push-object HOST/@/image:1 NONE x/y', /: content digest NONE: not found$/],
  ];
  for (const [args, error] of COMMANDS) {
    test(`content ${args}`, async () => {
      const words = (own: string): string[] => {
        return args
          .replace('@/', `${own}/`)
          .replace(':@', `:${own}`)
          .split(' ')
          .map((word) =>
            word.replace(
              /HOST|INDEX|MANIFEST|LAYER|OTHER|NONE|TYPE/g,
              (name) => places.get(name) ?? '',
            ),
          );
      };
      const theirs = daemon.ctr('ctr-2.1', ['content', ...words('theirs')]);
      const ours = await tsctr(daemon, 'content', ...words('ours'));
      assert.deepEqual([ours.status, ours.stdout], [theirs.status, theirs.stdout], ours.stderr);
      if (error === undefined) return;
      for (const { stderr } of [ours, theirs]) {
        let text = stderr.replace(/^time=.*\n/gm, '').trimEnd();
        for (const [name, digest] of places)
          if (digest.startsWith('sha')) text = text.replaceAll(digest, name);
        assert.match(text, error);
      }
    });
  }
});
