import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { findShimBinary, shimBinaryName } from './shim-binary.ts';

const root = mkdtempSync(join(tmpdir(), 'shims-'));
after(() => rmSync(root, { recursive: true }));

function program(directory: string, name: string, mode = 0o755): string {
  mkdirSync(join(root, directory), { recursive: true });
  const path = join(root, directory, name);
  writeFileSync(path, '');
  chmodSync(path, mode);
  return path;
}

const onPath = program('path', 'containerd-shim-runc-v2');
const kata = program('second', 'containerd-shim-kata-v2');
const beside = program('daemon', 'containerd-shim-tsrunc-v2');
program('path', 'containerd-shim-plain-v1', 0o644);
mkdirSync(join(root, 'path', 'containerd-shim-dir-v1'));
const search = {
  path: `.::${join(root, 'path')}:${join(root, 'second')}`,
  daemon: join(root, 'daemon', 'tscontainerd'),
};

for (const [runtime, expected] of [
  ['io.containerd.runc.v2', onPath],
  ['io.containerd.kata.v2', kata],
  ['io.containerd.tsrunc.v2', beside],
  [kata, kata],
] as const) {
  test(`findShimBinary: ${runtime} is ${expected.slice(root.length)}`, () => {
    assert.equal(findShimBinary(runtime, search), expected);
  });
}

test('findShimBinary: ours stands in where the shim of runc is missing', () => {
  const without = { ...search, path: '/nonexistent' };
  assert.equal(findShimBinary('io.containerd.runc.v2', without), beside);
});

for (const [runtime, kind, message] of [
  ['', 'InvalidArgument', 'invalid runtime name ""'],
  ['runc', 'InvalidArgument', 'invalid runtime name "runc"'],
  ['.v2', 'InvalidArgument', 'invalid runtime name ".v2"'],
  ['io.containerd.', 'InvalidArgument', 'invalid runtime name "io.containerd."'],
  ['../x.runc.v2', 'InvalidArgument', 'invalid runtime name "../x.runc.v2"'],
  [
    'io.containerd.none.v1',
    'NotFound',
    'runtime "io.containerd.none.v1" binary not installed "containerd-shim-none-v1"',
  ],
  [
    'io.containerd.plain.v1',
    'NotFound',
    'runtime "io.containerd.plain.v1" binary not installed "containerd-shim-plain-v1"',
  ],
  [
    'io.containerd.dir.v1',
    'NotFound',
    'runtime "io.containerd.dir.v1" binary not installed "containerd-shim-dir-v1"',
  ],
  ['/nonexistent/shim', 'NotFound', 'runtime /nonexistent/shim: no such program'],
] as const) {
  test(`findShimBinary: ${JSON.stringify(runtime)} is ${kind}`, () => {
    assert.throws(() => findShimBinary(runtime, search), { kind, message });
  });
}

test('shimBinaryName: the last two parts name the program', () => {
  assert.equal(shimBinaryName('a.b.c.runsc.v1'), 'containerd-shim-runsc-v1');
});
