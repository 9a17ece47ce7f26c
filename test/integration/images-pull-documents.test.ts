// Manifests and indexes that `ctr images pull` must not believe, or must not follow without an end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { INDEX, imageIndex, ok, PullSuite, skipPulls } from '../fixtures/pull-suite.ts';

const suite = PullSuite.define();

test('a registry that answers for another digest than asked', { skip: skipPulls }, async () => {
  suite.registry.add(suite.image, 'some/image');
  const asked = `sha256:${'1'.repeat(64)}`;
  suite.registry.misbehave = (request, response) => {
    if (!request.url?.includes('/manifests/')) return false;
    response.writeHead(200, {
      'content-type': 'application/vnd.oci.image.manifest.v1+json',
      'docker-content-digest': suite.image.manifestDigest,
    });
    response.end(
      request.method === 'HEAD' ? undefined : suite.image.blobs.get(suite.image.manifestDigest),
    );
    return true;
  };
  await suite.refusedPull(
    [`${suite.registry.host}/some/image@${asked}`],
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
    () => ({
      ...manifest(),
      layers: [{ mediaType: 'x', digest: suite.image.configDigest, size: -1 }],
    }),
    /layers\[0\]: size -1/,
  ],
];
function manifest(): Record<string, unknown> {
  return JSON.parse(suite.image.blobs.get(suite.image.manifestDigest)?.toString() ?? '');
}
for (const [what, make, why] of documents) {
  test(`a manifest with ${what} is refused`, { skip: skipPulls }, async () => {
    suite.registry.add(suite.image, 'some/image');
    suite.registry.addManifest(
      'bad',
      'application/vnd.oci.image.manifest.v1+json',
      Buffer.from(JSON.stringify(make())),
    );
    await suite.refusedPull(
      [`${suite.registry.host}/some/image:bad`],
      new RegExp(
        `^ctr: pull .*: image document sha256:[0-9a-f]{64}: ${why.source}: invalid argument$`,
      ),
    );
  });
}

test('indexes in indexes are followed to a limit', { skip: skipPulls }, async () => {
  let content = imageIndex();
  let digest = suite.registry.addManifest('deep', INDEX, content);
  for (let i = 0; i < 20; i++) {
    content = imageIndex({ mediaType: INDEX, digest, size: content.length });
    digest = suite.registry.addManifest('deep', INDEX, content);
  }
  await suite.refusedPull(
    [`${suite.registry.host}/some/image:deep`],
    /^ctr: pull .*: image index sha256:[0-9a-f]{64}: more than 4 levels: resource exhausted$/,
  );
});

test('a graph of indexes that multiplies is visited once each', { skip: skipPulls }, async () => {
  // Each level lists the next one fifty times: 50^4 visits without a memory of what was seen.
  suite.registry.add(suite.image, 'some/image');
  const leaf = {
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    digest: suite.image.manifestDigest,
    size: suite.image.blobs.get(suite.image.manifestDigest)?.length,
  };
  let content = imageIndex(...Array.from({ length: 50 }, () => leaf));
  for (let i = 0; i < 3; i++) {
    const digest = suite.registry.addManifest('wide', INDEX, content);
    const child = { mediaType: INDEX, digest, size: content.length };
    content = imageIndex(...Array.from({ length: 50 }, () => child));
  }
  suite.registry.addManifest('wide', INDEX, content);
  ok(await suite.ctr('images', 'pull', `${suite.registry.host}/some/image:wide`));
  const manifests = suite.registry.seen.filter(
    ({ method, path }) => method === 'GET' && path.includes('/manifests/'),
  );
  assert.ok(manifests.length <= 6, `${manifests.length} requests`);
});

test('a manifest without end is cut off', { skip: skipPulls }, async () => {
  suite.registry.misbehave = (request, response) => {
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
  await suite.refusedPull(
    [`${suite.registry.host}/some/image:endless`],
    /^ctr: pull .*: the answer has more than 4194304 bytes: resource exhausted$/,
  );
});
