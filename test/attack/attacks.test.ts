// The table of attacks names tests that are there, and every test of an attack on the runtime is in it.
import assert from 'node:assert/strict';
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
