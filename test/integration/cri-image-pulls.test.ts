// Pulls of the CRI: a registry that stalls is given up after image_pull_progress_timeout, and what a kubelet sends to show
// who it is stands nowhere, neither in the daemon's log at its most talkative nor in what it answers.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { AuthConfig } from '../../internal/api/generated/runtime.v1.ts';
import type { Init } from '../../internal/api/init.ts';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { buildImage } from '../fixtures/oci-image.ts';
import { refuse, TestRegistry } from '../fixtures/registry.ts';

const image = () =>
  buildImage({ name: 'x', layers: [busyboxRootfs().entries], compression: 'gzip', config: {} });

describe('a registry that stalls', { skip: skipCri(), timeout: 240_000 }, () => {
  it('is given up, and nothing of the image is left', async () => {
    await using registry = await TestRegistry.start();
    await using node = await CriNode.start({ cri: 'image_pull_progress_timeout = "2s"' });
    const reference = registry.add(await image(), 'stalls');
    // The head of a blob comes, and nothing after it.
    registry.misbehave = (request, response) => {
      if (request.method !== 'GET' || !request.url?.includes('/blobs/')) return false;
      response.writeHead(200, { 'content-length': '1000000' });
      response.write('x');
      return true;
    };
    await assert.rejects(node.images.pullImage({ image: { image: reference } }), {
      code: 4, // DEADLINE_EXCEEDED
      message:
        `4 DEADLINE_EXCEEDED: pull ${reference}: no progress for 2s: look whether the registry and the network ` +
        'to it are slow, or raise image_pull_progress_timeout: context deadline exceeded',
    });
    const { image: found } = await node.images.imageStatus({ image: { image: reference } });
    assert.equal(found, undefined);
  });
});

const SECRETS: Readonly<Record<string, Init<AuthConfig>>> = {
  'a password': { username: 'someone', password: 'PASSWORD-n1-of-tests' },
  'a pair in base64': { auth: Buffer.from('someone:PASSWORD-n2-of-tests').toString('base64') },
  'a token of the registry': { registryToken: 'TOKEN-n3-of-tests' },
  'an identity token': { identityToken: 'TOKEN-n4-of-tests' },
};

describe('credentials of a pull', { skip: skipCri(), timeout: 240_000 }, () => {
  let node: CriNode;
  let registry: TestRegistry;
  before(async () => {
    registry = await TestRegistry.start();
    node = await CriNode.start({ config: '[debug]\nlevel = "trace"' });
  });
  after(async () => {
    await node?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  /** Files below a directory, with what they hold. */
  const contents = (directory: string): string[] =>
    readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'));

  for (const [what, auth] of Object.entries(SECRETS)) {
    for (const isAccepted of [true, false]) {
      it(`${what}, ${isAccepted ? 'accepted' : 'refused'}: stand nowhere`, async () => {
        const reference = registry.add(await image(), 'private');
        const seen: string[] = [];
        registry.misbehave = (request, response) => {
          const { authorization, host } = request.headers;
          if (request.url?.startsWith('/token') === true) {
            response.end(JSON.stringify({ token: 'TOKEN-of-the-server-of-tests' }));
            return true;
          }
          if (authorization !== undefined) seen.push(authorization);
          if (authorization !== undefined && isAccepted) return false;
          const isToken = auth.identityToken !== undefined;
          response.setHeader(
            'www-authenticate',
            isToken ? `Bearer realm="http://${host}/token",service="s"` : 'Basic realm="r"',
          );
          refuse(response, 401, 'UNAUTHORIZED', 'not you');
          return true;
        };
        const pulling = node.images.pullImage({ image: { image: reference }, auth });
        const answer = await pulling.then(
          ({ imageRef }) => imageRef,
          (error: Error) => error.message,
        );
        const isRegistryToken = auth.registryToken !== undefined;
        if (isAccepted && !isRegistryToken) assert.match(answer, /^sha256:/);
        if (!isAccepted) assert.match(answer, /401|unauthori[sz]ed/i);
        if (!isRegistryToken) assert.ok(seen.length > 0, 'the registry has seen the credentials');
        await node.images.removeImage({ image: { image: reference } });
        // As they were sent, and as they went to the registry.
        const pair = Buffer.from(`someone:${auth.password ?? ''}`).toString('base64');
        const given = Object.values(auth).filter((value) => value !== 'someone');
        for (const secret of ['-of-tests', pair, ...given.map(String)]) {
          for (const text of [node.daemon.log, answer, ...contents(node.daemon.directory)]) {
            assert.ok(!text.includes(secret), `${JSON.stringify(secret)} was written down`);
          }
        }
        assert.match(node.daemon.log, /"level":"(trace|debug)"|level=(trace|debug)/);
      });
    }
  }
});

describe('how layers are fetched', { skip: skipCri(), timeout: 240_000 }, () => {
  const layer = (name: string, bytes: number) => [
    { path: name, kind: 'file' as const, content: randomBytes(bytes) },
  ];

  for (const [most, cri] of [
    [1, 'max_concurrent_downloads = 1'],
    [2, 'max_concurrent_downloads = 2'],
  ] as const) {
    it(`${cri}: so many layers at once`, async () => {
      await using registry = await TestRegistry.start();
      await using node = await CriNode.start({ cri });
      const layers = Array.from({ length: 5 }, (_, i) => layer(`file-${i}`, 100));
      const built = await buildImage({ name: 'x', layers, compression: 'none', config: {} });
      const reference = registry.add(built, 'layers');
      const isLayer = (url = '') => built.layerDigests.some((digest) => url.endsWith(digest));
      const held: (() => void)[] = [];
      const counts: number[] = [];
      const released = new WeakSet<IncomingMessage>();
      // Layers are held back until as many as may come have come, or no more are to come.
      registry.misbehave = (request, response) => {
        if (!isLayer(request.url) || released.has(request)) return false;
        held.push(() => {
          released.add(request);
          registry.serve(request, response);
        });
        counts.push(held.length);
        const isLast = counts.length === layers.length;
        if (held.length === most || isLast) for (const answer of held.splice(0)) answer();
        return true;
      };
      await node.images.pullImage({ image: { image: reference } });
      assert.equal(counts.length, layers.length);
      assert.equal(Math.max(...counts), most);
    });
  }

  it('concurrent_layer_fetch_buffer: a layer comes in parts of this size', async () => {
    await using registry = await TestRegistry.start();
    const ranges = async (cri: string): Promise<(string | undefined)[]> => {
      await using node = await CriNode.start({ cri });
      const layers = [layer('file', 300_000)];
      const built = await buildImage({ name: 'x', layers, compression: 'none', config: {} });
      registry.seen.splice(0);
      await node.images.pullImage({ image: { image: registry.add(built, 'large') } });
      const [digest = ''] = built.layerDigests;
      return registry.seen.filter(({ path }) => path.endsWith(digest)).map(({ range }) => range);
    };
    assert.deepEqual(await ranges(''), [undefined]);
    assert.deepEqual(await ranges('concurrent_layer_fetch_buffer = 100000'), ['bytes=0-99999']);
  });
});
