// The .proto files against the facts of test/wire: numbers, types, labels and methods of every interface we speak.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { root } from './source-files.ts';

const protoDirectories = ['internal/api/proto', 'ttrpc/proto'];
const dir = mkdtempSync(join(tmpdir(), 'wire-facts-'));
after(() => rmSync(dir, { recursive: true }));

function check(...directories: string[]): { status: number | null; output: string } {
  const args = [join(root, 'test/wire/check.mjs'), '--complete', ...directories];
  const run = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  return { status: run.status, output: `${run.stdout}${run.stderr}` };
}

test('the .proto files say what the facts say, and leave nothing out', () => {
  const { status, output } = check(...protoDirectories.map((path) => join(root, path)));
  assert.equal(status, 0, output);
  assert.match(output, /wire check PASS/);
});

test('a field with another number is found', () => {
  const copies = protoDirectories.map((path, index) => {
    const copy = join(dir, String(index));
    cpSync(join(root, path), copy, { recursive: true });
    return copy;
  });
  const first = copies[0] ?? '';
  const name = readdirSync(first).find((file) => file === 'containerd.task.v3.proto') ?? '';
  const text = readFileSync(join(first, name), 'utf8');
  const changed = text.replace(/(string bundle = )\d+;/, '$1999;');
  assert.notEqual(changed, text);
  writeFileSync(join(first, name), changed);
  const { status, output } = check(...copies);
  assert.equal(status, 1, output);
  assert.match(output, /CreateTaskRequest: field bundle differs/);
});
