import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type NameRule, namesOf, namesOfImported } from './image-names.ts';
import type { Descriptor } from './image-store.ts';

const digest = `sha256:${'a'.repeat(64)}` as const;
const rule = (name: string, options: Partial<NameRule> = {}): NameRule => ({
  name,
  isPrefix: true,
  allowOverwrite: false,
  addDigest: false,
  skipNamedDigest: false,
  ...options,
});
const annotated = (full?: string, tag?: string): Descriptor => ({
  mediaType: '',
  digest,
  sizeBytes: 1,
  annotations: new Map([
    ...(full === undefined ? [] : [['io.containerd.image.name', full] as const]),
    ...(tag === undefined ? [] : [['org.opencontainers.image.ref.name', tag] as const]),
  ]),
});

const over = { allowOverwrite: true };
const rows: [string, Descriptor, NameRule, string[]][] = [
  [
    'a full name',
    annotated('docker.io/library/a:1'),
    rule('import-x', over),
    ['docker.io/library/a:1'],
  ],
  ['a full name of another prefix', annotated('docker.io/library/a:1'), rule('b'), []],
  [
    'a full name of a short prefix',
    annotated('docker.io/library/a:1'),
    rule('a'),
    ['docker.io/library/a:1'],
  ],
  ['half a prefix', annotated('docker.io/library/ab:1'), rule('a'), []],
  ['a tag', annotated(undefined, 'latest'), rule('foo/bar'), ['foo/bar:latest']],
  ['a full name as ref name', annotated(undefined, 'x/y:1'), rule('foo', over), ['x/y:1']],
  ['no name', annotated(), rule('foo'), []],
  ['no name, by digest', annotated(), rule('foo', { addDigest: true }), [`foo@${digest}`]],
  [
    'a tag, by digest too',
    annotated(undefined, 't'),
    rule('foo', { addDigest: true }),
    ['foo:t', `foo@${digest}`],
  ],
  [
    'a tag, by digest only without one',
    annotated(undefined, 't'),
    rule('foo', { addDigest: true, skipNamedDigest: true }),
    ['foo:t'],
  ],
];
for (const [what, descriptor, names, expected] of rows) {
  test(`namesOfImported: ${what}`, () => {
    assert.deepEqual(namesOfImported(descriptor, [names]), expected);
  });
}

test('namesOf: the image’s name and full names, not prefixes', () => {
  const rules = [rule('p'), rule('full:1', { isPrefix: false })];
  assert.deepEqual(namesOf(annotated(), 'n:1', rules), ['n:1', 'full:1']);
  assert.deepEqual(namesOf(annotated(), '', [rule('p')]), []);
});
