// critest's specs over our daemon: none fails, and only those are skipped that ask for something else.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { SpecResult } from './critest.ts';
import { skipCritest } from './node.ts';

/** Specs that may be skipped, and why. */
const MAY_BE_SKIPPED: readonly (readonly [RegExp, string])[] = [
  [/ benchmark about /, 'runs with the flag -benchmark only'],
  [/^AppArmor /, 'there is no AppArmor here'],
];
/** Without the ones above; a suite that lost some of them would be another one. */
const SPECS = 108;

test('critest: every spec passes that can run here', { skip: skipCritest('tsrunc') }, (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'critest-results-'));
  try {
    const file = join(directory, 'results.json');
    const main = join(import.meta.dirname, 'main.ts');
    const run = spawnSync(process.execPath, [main, '--json', file], { encoding: 'utf8' });
    const results = JSON.parse(readFileSync(file, 'utf8')) as SpecResult[];
    for (const { name, first } of results) {
      if (first !== undefined) t.diagnostic(`failed at first: ${name}: ${first}`);
    }
    const failed = results.filter(({ state }) => state === 'failed');
    assert.deepEqual(failed, [], run.stderr);
    const skipped = results.filter(({ state }) => state === 'skipped').map(({ name }) => name);
    const unexplained = skipped.filter((name) => !MAY_BE_SKIPPED.some(([spec]) => spec.test(name)));
    assert.deepEqual(unexplained, []);
    assert.ok(results.filter(({ state }) => state === 'passed').length >= SPECS);
    assert.equal(run.status, 0);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
