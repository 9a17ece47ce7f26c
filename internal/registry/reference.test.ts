import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  familiarReference,
  newSourceLabel,
  normalizeDockerReference,
  parseReference,
  sourceLabel,
} from './reference.ts';

const digest = `sha256:${'0'.repeat(64)}`;

const normalized: [string, string][] = [
  ['busybox', 'docker.io/library/busybox:latest'],
  ['busybox:1.36', 'docker.io/library/busybox:1.36'],
  ['user/app', 'docker.io/user/app:latest'],
  ['docker.io/busybox', 'docker.io/library/busybox:latest'],
  ['index.docker.io/library/busybox', 'docker.io/library/busybox:latest'],
  ['localhost/app', 'localhost/app:latest'],
  ['localhost:5000/a/b:t', 'localhost:5000/a/b:t'],
  ['registry.k8s.io/pause:3.9', 'registry.k8s.io/pause:3.9'],
  [`busybox:1@${digest}`, `docker.io/library/busybox@${digest}`],
];
for (const [text, expected] of normalized) {
  test(`normalizeDockerReference: ${text}`, () => {
    assert.equal(normalizeDockerReference(text), expected);
  });
}

const familiar: [string, string][] = [
  ['docker.io/library/busybox:1', 'busybox:1'],
  ['docker.io/user/app:1', 'user/app:1'],
  ['quay.io/a/b', 'quay.io/a/b:latest'],
];
for (const [text, expected] of familiar) {
  test(`familiarReference: ${text}`, () => assert.equal(familiarReference(text), expected));
}

const refused: [string, string][] = [
  ['busybox', 'it has no registry host: write it in full: docker.io/library/busybox'],
  ['docker.io/', '"" is not a repository name'],
  ['docker.io/UPPER', '"UPPER" is not a repository name'],
  ['docker.io/a/../b', '"a/../b" is not a repository name'],
  ['docker.io/a:', '"" is not a tag'],
  ['docker.io/a@sha256:12', '"sha256:12" is not a sha256 or sha512 digest'],
  ['user@host/a', '"user@host" is not a registry host'],
  ['a b/c', '"a b" is not a registry host'],
];
for (const [text, why] of refused) {
  test(`parseReference: ${text} is refused`, () => {
    assert.throws(() => parseReference(text), {
      kind: 'InvalidArgument',
      text: `image reference ${JSON.stringify(text)}: ${why}`,
    });
  });
}

test('sourceLabel: without the port, as containerd writes it', () => {
  assert.equal(sourceLabel('127.0.0.1:5000'), 'containerd.io/distribution.source.127.0.0.1');
  assert.equal(sourceLabel('docker.io'), 'containerd.io/distribution.source.docker.io');
});

const FROM = parseReference('a.example:5000/x/y:1');
const KEY = 'containerd.io/distribution.source.a.example';
for (const [name, before, expected] of [
  ['the first', undefined, 'x/y'],
  ['one more, in order', 'a/b,z', 'a/b,x/y,z'],
  ['there already', 'a/b,x/y', undefined],
  ['too long', 'z'.repeat(4050), undefined],
] as const) {
  test(`newSourceLabel: ${name}`, () => {
    const labels = before === undefined ? new Map() : new Map([[KEY, before]]);
    const label = newSourceLabel(labels, FROM);
    assert.deepEqual([...label], expected === undefined ? [] : [[KEY, expected]]);
  });
}
