import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runBlocking } from '../linux/index.ts';
import { defaultSpec, formatJson } from '../oci/index.ts';
import { explainCreate } from './create.ts';

const bundle = mkdtempSync(join(tmpdir(), 'init-program-'));
after(() => rmSync(bundle, { recursive: true }));
const options = { root: join(bundle, 'state'), rootless: false, debug: () => {} } as const;

let lines: string[] = [];
before(() => {
  mkdirSync(join(bundle, 'rootfs'));
  const spec = JSON.parse(formatJson(defaultSpec(false)));
  spec.process.terminal = false;
  spec.process.args = ['/bin/true'];
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  lines = runBlocking(explainCreate(options, { id: 'c', bundle }));
});

/** Position of the first line with this text. */
function at(text: string): number {
  const index = lines.findIndex((line) => line.includes(text));
  assert.notEqual(index, -1, `no step has ${JSON.stringify(text)}`);
  return index;
}

const ORDER = [
  'PR_SET_DUMPABLE, 0',
  'CLOSE_RANGE_CLOEXEC',
  'PR_SET_MM_MAP',
  'bind rootfs',
  'mount proc on /proc',
  'mask /proc/kcore',
  'pivot_root to the rootfs',
  'unmount the old root',
  'set hostname',
  'set no_new_privs',
  'set uid 0',
  'set capabilities',
  'announce ready',
  'wait for start',
  'exec /bin/true',
];

test('the init program: hidden before it touches the rootfs, privileges dropped before it waits', () => {
  const positions = ORDER.map(at);
  assert.deepEqual(
    positions,
    [...positions].sort((a, b) => a - b),
  );
});

test('the init program: every path of the rootfs is opened by RESOLVE_IN_ROOT', () => {
  const paths = lines.filter((line) => /openat2\((root|step\d+), "\//.test(line));
  assert.ok(paths.length > 10);
  for (const line of paths) assert.match(line, /RESOLVE_IN_ROOT/);
});

test('the init program: nothing is made by explaining it', () => {
  assert.throws(() => rmSync(options.root, { recursive: true }), { code: 'ENOENT' });
});
