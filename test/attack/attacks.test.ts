// The table of attacks names tests that are there, and every test of an attack on the runtime is in it.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { readText } from '../architecture/source-files.ts';
import { attacks } from './attacks.ts';

for (const { id, what, triedBy } of attacks) {
  test(`${id}: ${what}`, () => {
    assert.ok(triedBy.length > 0);
    for (const [file, name] of triedBy) {
      const text = readText(file);
      assert.ok(text !== undefined, `${file} is not there`);
      // Names are written in one piece, or made of pieces in a template.
      const titles = text.split('\n').filter((line) => /\b(?:test|it)\(|^ *['"`]|^ *`/.test(line));
      const isThere = titles.some((line) => line.includes(name)) || text.includes(`, '${name}`);
      assert.ok(isThere, `no test in ${file} is called ${name}`);
    }
  });
}

test('every file of tests in this folder is in the table', () => {
  const named = new Set(attacks.flatMap(({ triedBy }) => triedBy.map(([file]) => file)));
  const files = readdirSync(import.meta.dirname).filter((name) => name.endsWith('.test.ts'));
  const missing = files.filter((name) => !named.has(`test/attack/${name}`));
  assert.deepEqual(missing, ['attacks.test.ts']);
});
