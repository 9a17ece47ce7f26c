import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layerTarget, overlayLayers } from './layer-target.ts';
import type { Mount } from './snapshotter.ts';

const overlay = (...options: string[]): Mount => ({
  type: 'overlay',
  source: 'overlay',
  target: '',
  options,
});
const bind = (source: string, ...options: string[]): Mount => ({
  type: 'bind',
  source,
  target: '',
  options,
});

test('layerTarget: the upper directory of an overlay', () => {
  const mounts = [overlay('workdir=/w', 'upperdir=/u', 'lowerdir=/b:/a', 'index=off')];
  assert.deepEqual(layerTarget(mounts, false), {
    root: '/u',
    kind: 'overlay',
    lowers: ['/b', '/a'],
    hasUserXattrs: false,
  });
});

test('layerTarget: the source of a bind mount', () => {
  assert.deepEqual(layerTarget([bind('/s', 'rbind', 'rw')], false), {
    root: '/s',
    kind: 'plain',
    lowers: [],
    hasUserXattrs: false,
  });
});

test('layerTarget: others have to be mounted', () => {
  assert.equal(
    layerTarget([{ type: 'ext4', source: '/dev/x', target: '', options: [] }], false),
    undefined,
  );
  assert.equal(layerTarget([bind('/a', 'rw'), bind('/b', 'rw')], false), undefined);
});

for (const [what, mount] of [
  ['a view', overlay('lowerdir=/b:/a')],
  ['a read-only bind', bind('/s', 'ro', 'rbind')],
] as const) {
  test(`layerTarget: ${what} cannot be written`, () => {
    assert.throws(() => layerTarget([mount], false), {
      kind: 'FailedPrecondition',
      message: `write to ${mount.source}: it is mounted read-only`,
    });
  });
}

const upper = [overlay('workdir=/w', 'upperdir=/u', 'lowerdir=/b:/a')];
const bases: [string, Mount[], boolean][] = [
  ['the view of its parent', [overlay('lowerdir=/b:/a', 'index=off')], true],
  ['another view', [overlay('lowerdir=/c:/a')], false],
  ['one directory', [bind('/b', 'ro', 'rbind')], false],
  ['nothing', [], false],
];
for (const [what, lower, isFast] of bases) {
  test(`overlayLayers: over ${what} the changes ${isFast ? 'are the upper directory' : 'must be compared'}`, () => {
    assert.deepEqual(
      overlayLayers(lower, upper),
      isFast ? { upper: '/u', lowers: ['/b', '/a'] } : undefined,
    );
  });
}

test('overlayLayers: over a parent of one layer', () => {
  const one = [overlay('workdir=/w', 'upperdir=/u', 'lowerdir=/a')];
  assert.deepEqual(overlayLayers([bind('/a', 'ro', 'rbind')], one), {
    upper: '/u',
    lowers: ['/a'],
  });
});
