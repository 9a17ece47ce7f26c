import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillsDev, planDevices } from './device-plan.ts';
import { parseMountOptions } from './mount-options.ts';
import type { PlannedMount } from './mount-plan.ts';

function mount(destination: string, type: string, ...options: string[]): PlannedMount {
  return {
    property: 'mounts[0]',
    mount: { destination, type, options },
    options: parseMountOptions(options),
    kind: type === 'bind' ? 'bind' : 'file system',
    destination,
    source: '',
    isDirectory: true,
    isThere: true,
    mode: undefined,
    copyUp: [],
  };
}

test('planDevices: the default ones, on a tmpfs of their own', () => {
  const devices = planDevices([], [mount('/dev', 'tmpfs')]);
  assert.deepEqual(
    devices.map(({ path }) => path),
    ['/dev/null', '/dev/zero', '/dev/full', '/dev/random', '/dev/urandom', '/dev/tty'],
  );
  assert.ok(devices.every(({ isOnFreshMount }) => isOnFreshMount));
});

test('planDevices: a device of the spec replaces the default one of its path', () => {
  const own = { type: 'c', path: '/dev//null', major: 1, minor: 5, fileMode: 0o600 } as const;
  const [first] = planDevices([own], []);
  assert.deepEqual(first, {
    path: '/dev/null',
    directory: '/dev',
    name: 'null',
    type: 'S_IFCHR',
    major: 1,
    minor: 5,
    mode: 0o600,
    uid: 0,
    gid: 0,
    isOnFreshMount: false,
  });
});

test('planDevices: what is bound is not made', () => {
  const paths = planDevices([], [mount('/dev', 'tmpfs'), mount('/dev/null', 'bind')]).map(
    ({ path }) => path,
  );
  assert.equal(paths.includes('/dev/null'), false);
  assert.equal(paths.includes('/dev/zero'), true);
});

test('fillsDev: not where /dev is bound', () => {
  assert.equal(fillsDev([mount('/dev', 'tmpfs')]), true);
  assert.equal(fillsDev([mount('/dev', 'bind')]), false);
});
