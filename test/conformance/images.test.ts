// The images service as containerd's clients use it, with containerd as the judge of the tests.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { type Image, Images } from '../../internal/api/generated/containerd.services.images.v1.ts';
import type { Init } from '../../internal/api/init.ts';
import type { ServiceClient } from '../../internal/api/service.ts';
import { describeEachDaemon } from '../fixtures/daemon-suite.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const OTHER = `sha256:${'b'.repeat(64)}`;
const MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json';

function image(name: string, fields: Init<Image> = {}): Init<Image> {
  return { name, target: { mediaType: MEDIA_TYPE, digest: DIGEST, size: 7n }, ...fields };
}

describeEachDaemon((suite) => {
  let images: ServiceClient<typeof Images>;
  before(() => {
    images = suite.connection('contract').service(Images);
  });

  test('create, get, list, delete', async () => {
    const labels: [string, string][] = [['a', 'b']];
    await images.create({ image: image('docker.io/library/x:1', { labels }) });
    const { image: got } = await images.get({ name: 'docker.io/library/x:1' });
    assert.deepEqual([...(got?.labels ?? [])], labels);
    assert.deepEqual(
      [got?.target?.mediaType, got?.target?.digest, got?.target?.size],
      [MEDIA_TYPE, DIGEST, 7n],
    );
    const { images: listed } = await images.list({});
    assert.deepEqual(
      listed.map(({ name }) => name),
      ['docker.io/library/x:1'],
    );
    await images.delete({ name: 'docker.io/library/x:1', sync: true });
    await assert.rejects(images.get({ name: 'docker.io/library/x:1' }), {
      code: 5,
      details: 'image "docker.io/library/x:1": not found',
    });
    await assert.rejects(images.delete({ name: 'docker.io/library/x:1' }), {
      code: 5,
      details: 'image "docker.io/library/x:1": not found',
    });
  });

  test('a second image of a name is ALREADY_EXISTS', async () => {
    await images.create({ image: image('twice') });
    await assert.rejects(images.create({ image: image('twice') }), {
      code: 6,
      details: 'image "twice": already exists',
    });
  });

  const bad: [string, Init<Image>][] = [
    ['no name', image('')],
    [
      'a digest that is none',
      image('x', { target: { mediaType: MEDIA_TYPE, digest: 'sha256:x', size: 1n } }),
    ],
    ['a size of 0', image('x', { target: { mediaType: MEDIA_TYPE, digest: DIGEST, size: 0n } })],
    ['no media type', image('x', { target: { mediaType: '', digest: DIGEST, size: 1n } })],
  ];
  if (suite.kind !== 'containerd-2.1') bad.push(['no target', image('x', { target: undefined })]); // it dies of it
  for (const [what, request] of bad) {
    test(`create refuses ${what}`, async () => {
      await assert.rejects(images.create({ image: request }), { code: 3 });
    });
  }

  test('update replaces what the mask names', async () => {
    const target = {
      mediaType: MEDIA_TYPE,
      digest: OTHER,
      size: 9n,
      annotations: [['n', '1']] as [string, string][],
    };
    await images.create({
      image: image('update', {
        labels: [
          ['a', '1'],
          ['b', '2'],
        ],
      }),
    });
    const update = async (fields: Init<Image>, paths: string[]) => {
      const { image: updated } = await images.update({
        image: image('update', fields),
        updateMask: { paths },
      });
      return { labels: [...(updated?.labels ?? [])].sort(), digest: updated?.target?.digest };
    };
    assert.deepEqual(await update({ labels: [['a', '3']], target }, ['labels.a', 'labels.b']), {
      labels: [['a', '3']],
      digest: DIGEST,
    });
    assert.deepEqual(await update({ target }, ['target']), { labels: [['a', '3']], digest: OTHER });
    assert.deepEqual(await update({ labels: [['c', '4']] }, ['labels']), {
      labels: [['c', '4']],
      digest: OTHER,
    });
    assert.deepEqual(await update({}, []), { labels: [], digest: DIGEST });
    // ctr sends an empty target with labels.
    assert.deepEqual(await update({ labels: [['d', '5']], target: {} }, ['labels.d']), {
      labels: [['d', '5']],
      digest: DIGEST,
    });
    await assert.rejects(update({}, ['name']), {
      code: 3,
      details: /^cannot update "name" field on (?:image )?"update": invalid argument$/,
    });
    await assert.rejects(images.update({ image: image('gone') }), {
      code: 5,
      details: 'image "gone": not found',
    });
  });

  test('list takes filters', async () => {
    const namespace = suite.connection('filters').service(Images);
    await namespace.create({ image: image('docker.io/library/a:1', { labels: [['k', 'v']] }) });
    await namespace.create({
      image: image('quay.io/b:2', { target: { mediaType: MEDIA_TYPE, digest: OTHER, size: 1n } }),
    });
    const names = async (...filters: string[]) => {
      const { images: listed } = await namespace.list({ filters });
      return listed.map(({ name }) => name).sort();
    };
    assert.deepEqual(await names('name~="^docker"'), ['docker.io/library/a:1']);
    assert.deepEqual(await names(`target.digest==${OTHER}`), ['quay.io/b:2']);
    assert.deepEqual(await names('labels.k==v', 'name==quay.io/b:2'), [
      'docker.io/library/a:1',
      'quay.io/b:2',
    ]);
    assert.deepEqual(await names(`target.mediatype==${MEDIA_TYPE},labels.k`), [
      'docker.io/library/a:1',
    ]);
  });
});
