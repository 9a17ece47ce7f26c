import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { Session } from 'node:inspector';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runInThisContext } from 'node:vm';
import { type Compile, compileAhead } from './code-cache.ts';
import { type CountedFunction, calledKeys, keyFunctions } from './function-keys.ts';

const dir = mkdtempSync(join(tmpdir(), 'function-keys-'));
after(() => rmSync(dir, { recursive: true }));

const code = `(function(exports){
var plain2 = function () { return [1].map((x) => x + 1); };
function outer(call) { function inner() { return (() => 1)(); } return call ? inner() : () => () => 2; }
var Box = class { #size = 1; static of = () => new Box(); get size() { return this.#size; } #grow() { this.#size++; }
  grow() { this.#grow(); } };
class Never { a = 1; b() { return this.a; } }
exports.run = () => { plain2(); outer(true); Box.of().grow(); };
exports.never = { later() { return Never; } };
})`;

test('a key names a function and what is around it', () => {
  assert.deepEqual(
    keyFunctions(code).map(({ key }) => key),
    [
      '',
      'plain',
      'plain/0',
      'outer',
      'outer/inner',
      'outer/inner/0',
      'outer/0',
      'outer/0/0',
      'Box.<fields>',
      'Box.of',
      'Box.size',
      'Box.#grow',
      'Box.grow',
      'Never.<fields>',
      'Never.b',
      'run',
      'later',
    ],
  );
});

test('the place of a function is in it and in none of the functions inside of it', () => {
  const functions = keyFunctions(code);
  for (const { key, start, end, inside } of functions) {
    assert.ok(start <= inside && inside < end, key);
    const innermost = functions
      .filter((each) => each.start <= inside && inside < each.end && !each.key.includes('<'))
      .sort((a, b) => a.end - a.start - (b.end - b.start))[0];
    if (!key.includes('<')) assert.equal(innermost?.key, key);
  }
});

test('the functions that V8 counts as called are found', () => {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  const exports: { run?: () => void } = {};
  runInThisContext(code, { filename: 'counted.js' })(exports);
  exports.run?.();
  let counted: readonly CountedFunction[] = [];
  session.post('Profiler.takePreciseCoverage', (_error, { result }) => {
    counted = result.find(({ url }) => url === 'counted.js')?.functions ?? [];
  });
  session.disconnect();
  const called = ['', 'plain', 'plain/0', 'outer', 'outer/inner', 'outer/inner/0', 'Box.<fields>'];
  assert.deepEqual(
    [...calledKeys(code, counted)].sort(),
    [...called, 'Box.of', 'Box.#grow', 'Box.grow', 'run'].sort(),
  );
});

test('only the functions that are asked for are compiled ahead', () => {
  const size = (compile: Compile) =>
    compileAhead([process.execPath], [], compile, new Map([['x', code]]), dir).get('x')?.length ??
    0;
  const none = size(new Set());
  const some = size(new Set(['plain', 'Box.grow', 'run']));
  const more = size(new Set(['plain', 'plain/0', 'Box.grow', 'Box.<fields>', 'run', 'outer']));
  assert.ok(none < some && some < more && more < size('everything'), `${none} ${some} ${more}`);
  assert.equal(size(new Set(['unknown'])), none);
});
