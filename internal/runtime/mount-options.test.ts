import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDataOption, parseMountOptions } from './mount-options.ts';

test('parseMountOptions: what a usual tmpfs on /dev has', () => {
  const options = parseMountOptions(['nosuid', 'strictatime', 'mode=755', 'size=65536k']);
  assert.deepEqual([...options.attributes.set], ['nosuid', 'strictatime']);
  assert.deepEqual(options.data, ['mode=755', 'size=65536k']);
  assert.equal(options.bind, undefined);
});

test('parseMountOptions: the last of contradicting options counts', () => {
  const options = parseMountOptions(['ro', 'noatime', 'relatime', 'rw', 'dev', 'nodev']);
  assert.deepEqual([...options.attributes.set], ['relatime', 'nodev']);
  assert.deepEqual([...options.attributes.clear], ['ro']);
  assert.deepEqual([...options.superblockFlags], []);
});

test('parseMountOptions: ro is for the mount point and for the file system', () => {
  const options = parseMountOptions(['ro', 'sync']);
  assert.deepEqual([...options.attributes.set], ['ro']);
  assert.deepEqual([...options.superblockFlags], ['ro', 'sync']);
});

test('parseMountOptions: recursive forms are kept apart', () => {
  const options = parseMountOptions(['rbind', 'rro', 'rnosuid', 'rslave', 'shared', 'ridmap']);
  assert.equal(options.bind, 'rbind');
  assert.equal(options.idmap, 'ridmap');
  assert.deepEqual([...options.attributes.set], []);
  assert.deepEqual([...options.recursiveAttributes.set], ['ro', 'nosuid']);
  assert.deepEqual(options.propagation, [
    { type: 'slave', isRecursive: true },
    { type: 'shared', isRecursive: false },
  ]);
});

test('parseMountOptions: relatime, remount and rbind are no recursive forms of something else', () => {
  const options = parseMountOptions(['relatime', 'remount']);
  assert.deepEqual([...options.attributes.set], ['relatime']);
  assert.equal(options.isRemount, true);
  assert.deepEqual([...options.recursiveAttributes.set], []);
});

test('parseMountOptions: names of Object.prototype are options like any other', () => {
  assert.deepEqual(parseMountOptions(['constructor', '__proto__']).data, [
    'constructor',
    '__proto__',
  ]);
});

test('parseDataOption: the first = separates', () => {
  assert.deepEqual(parseDataOption('context=a=b'), { key: 'context', value: 'a=b' });
  assert.deepEqual(parseDataOption('newinstance'), { key: 'newinstance', value: undefined });
  assert.throws(() => parseDataOption('=x'), { message: 'mount option "=x" has no name' });
});
