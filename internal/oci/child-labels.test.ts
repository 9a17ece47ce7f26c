import assert from 'node:assert/strict';
import { test } from 'node:test';
import { childLabels } from './child-labels.ts';

const digest = (letter: string) => `sha256:${letter.repeat(64)}` as const;
const of = (mediaType: string, letter: string) => ({
  mediaType,
  digest: digest(letter),
  sizeBytes: 1,
  annotations: new Map<string, string>(),
});

test('childLabels: of a manifest', () => {
  const labels = childLabels([
    of('application/vnd.oci.image.config.v1+json', 'c'),
    of('application/vnd.oci.image.layer.v1.tar+gzip', '1'),
    of('application/vnd.docker.image.rootfs.diff.tar.gzip', '2'),
    of('application/vnd.example.unknown', '3'),
  ]);
  assert.deepEqual(
    [...labels],
    [
      ['containerd.io/gc.ref.content.config', digest('c')],
      ['containerd.io/gc.ref.content.l.0', digest('1')],
      ['containerd.io/gc.ref.content.l.1', digest('2')],
      ['containerd.io/gc.ref.content.0', digest('3')],
    ],
  );
});

test('childLabels: of an index', () => {
  const labels = childLabels([
    of('application/vnd.oci.image.manifest.v1+json', 'a'),
    of('application/vnd.docker.distribution.manifest.list.v2+json', 'b'),
  ]);
  assert.deepEqual(
    [...labels.keys()],
    ['containerd.io/gc.ref.content.m.0', 'containerd.io/gc.ref.content.m.1'],
  );
});
