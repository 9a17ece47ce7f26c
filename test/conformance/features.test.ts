// The README claims only what a test shows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readText, repositoryFiles } from '../architecture/source-files.ts';
import { features, filesOf } from './features.ts';
import { readReadme, withTable } from './table.ts';

test('the README has the table that the tests give: node test/conformance/table.ts --write', () => {
  assert.equal(withTable(readReadme()), readReadme());
});

for (const { what, shownBy } of Object.values(features).flat()) {
  for (const pattern of shownBy) {
    test(`there is a test of: ${what} (${pattern})`, () => {
      const files = filesOf(pattern, repositoryFiles());
      assert.ok(files.length > 0, `no file is called ${pattern}`);
      for (const path of files) {
        assert.match(readText(path) ?? '', /\btest\(|\bit\(/, `${path} holds no test`);
      }
    });
  }
}

test('every test of whole programs stands in the README', () => {
  const patterns = Object.values(features).flatMap((rows) => rows.flatMap((row) => row.shownBy));
  const named = new Set(patterns.flatMap((pattern) => filesOf(pattern, repositoryFiles())));
  const kinds = /^test\/(?:integration|attack|faults|conformance|contract)\/.*\.test\.ts$/;
  const silent = repositoryFiles().filter((path) => kinds.test(path) && !named.has(path));
  assert.deepEqual(silent, [], 'give each of these a row in test/conformance/features.ts');
});

test('commands and files that the README names are there', () => {
  const readme = readReadme();
  for (const [, path = ''] of readme.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)) {
    const target = path.replace(/\/$/, '');
    const isThere = repositoryFiles().some(
      (file) => file === target || file.startsWith(`${target}/`),
    );
    assert.ok(isThere, `README.md links to ${path}, which is not there`);
  }
  const makefile = readText('Makefile') ?? '';
  for (const [, target = ''] of readme.matchAll(/\bmake ([a-z]+)\b(?!\/)/g)) {
    assert.match(makefile, new RegExp(`^${target}:`, 'm'), `README.md names make ${target}`);
  }
});
