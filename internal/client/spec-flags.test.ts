import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TsError } from '../errors/index.ts';
import {
  mergeEnv,
  parseIdMap,
  parseMountFlag,
  parseNamespaceFlag,
  parsePropagation,
} from './spec-flags.ts';

test('parseMountFlag: all parts', () => {
  assert.deepEqual(parseMountFlag('type=bind,src=/tmp,dst=/host,options=rbind:ro'), {
    destination: '/host',
    type: 'bind',
    source: '/tmp',
    options: ['rbind', 'ro'],
  });
});

test('mergeEnv: the last value counts, in the first place; a name alone removes', () => {
  assert.deepEqual(mergeEnv(['A=1', 'B=2', 'C=3'], ['B=x', 'D=4', 'C']), ['A=1', 'B=x', 'D=4']);
});

test('parseNamespaceFlag and parseIdMap', () => {
  assert.deepEqual(parseNamespaceFlag('network:/proc/1/ns/net'), {
    type: 'network',
    path: '/proc/1/ns/net',
  });
  assert.deepEqual(parseIdMap('uidmap', '0:1000:10'), { containerID: 0, hostID: 1000, size: 10 });
});

const REFUSED: [string, () => unknown, string][] = [
  [
    'mount option',
    () => parseMountFlag('type=bind,from=/x'),
    '--mount type=bind,from=/x: invalid mount option "from=/x": write it as type=bind,src=/tmp,dst=/host,options=rbind:ro',
  ],
  [
    'no destination',
    () => parseMountFlag('type=tmpfs'),
    '--mount type=tmpfs: it has no destination: add dst=/PATH',
  ],
  ['id map', () => parseIdMap('gidmap', '0:1'), '--gidmap 0:1: not CONTAINER:HOST:LENGTH'],
];
for (const [name, parse, text] of REFUSED) {
  test(`refused: ${name}`, () => {
    assert.throws(parse, (thrown) => {
      assert.equal(TsError.from(thrown).text, text);
      return true;
    });
  });
}

test('refused: a namespace and a propagation that are none, with those that are', () => {
  assert.throws(() => parseNamespaceFlag('net:/x'), /^TsError: --with-ns net:\/x: not TYPE:PATH$/);
  assert.throws(
    () => parsePropagation('open'),
    /^TsError: --rootfs-propagation open: no such propagation$/,
  );
});
