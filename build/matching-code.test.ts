// Node's own modules are taken as they were compiled, under the options of our programs.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { binaries } from './binaries.ts';
import { matchCode } from './matching-code.ts';
import { baseNode } from './platform.ts';

const dir = mkdtempSync(join(tmpdir(), 'matching-code-'));
after(() => rmSync(dir, { recursive: true, force: true }));
const skip = process.arch === 'x64' ? false : 'the executables under test are for x64';

/** How many of Node's modules were taken as they were compiled, and how many Node compiled itself. */
function usage(node: string, v8Options: readonly string[]): { taken: number; compiled: number } {
  const program = `
    const { internalBinding } = require('internal/test/binding');
    require('node:vm');
    require('node:http');
    const { compiledWithCache, compiledWithoutCache } = internalBinding('builtins').getCacheUsage();
    console.log(JSON.stringify({ taken: compiledWithCache.size, compiled: compiledWithoutCache.size }));`;
  const args = [...v8Options, '--expose-internals', '--no-warnings', '-e', program];
  const { status, stdout, stderr } = spawnSync(node, args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}

test('with the hash of its options in the executable, V8 takes the code of Node’s modules', {
  skip,
}, () => {
  const node = baseNode(join(import.meta.dirname, '..'), 'x64');
  const v8Options = binaries['tsrunc']?.v8Options ?? [];
  const executable = readFileSync(node);
  const count = matchCode(executable, [node], [], v8Options);
  assert.ok(count > 300, `${count} modules`);
  assert.equal(matchCode(executable, [node], [], v8Options), 0, 'all were changed before');
  const changed = join(dir, 'node');
  writeFileSync(changed, executable);
  chmodSync(changed, 0o755);

  const before = usage(node, v8Options);
  assert.equal(before.taken, 0);
  const after = usage(changed, v8Options);
  assert.deepEqual(after, { taken: before.compiled, compiled: 0 });
});
