// The table of config.json's properties covers all of them, and the tests that it names are there and speak of them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readText } from '../architecture/source-files.ts';
import { PROPERTIES, type Treatment } from './config-properties.ts';

const facts: { config: Record<string, { type: string; platform?: string }> } = JSON.parse(
  readFileSync(join(import.meta.dirname, '../wire/oci-runtime-spec.json'), 'utf8'),
);
const paths = Object.keys(facts.config);

/** The row of a property: its own, or that of the nearest property above it. */
function treatmentOf(path: string): Treatment | undefined {
  for (let at = path; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const row = PROPERTIES[at] ?? PROPERTIES[at.replace(/\[\]$|\{\}$/, '')];
    if (row !== undefined) return row;
  }
  return undefined;
}

test('every property of the specification has a row, and every row is a property', () => {
  assert.ok(paths.length > 300, 'the facts are there');
  assert.deepEqual(
    paths.filter((path) => treatmentOf(path) === undefined),
    [],
  );
  assert.deepEqual(
    Object.keys(PROPERTIES).filter((path) => !paths.includes(path)),
    [],
  );
});

test('what is ignored is of another platform', () => {
  for (const path of paths.filter((each) => treatmentOf(each)?.is === 'ignored')) {
    const root = path.split('.', 1)[0] ?? '';
    const platform = facts.config[path]?.platform ?? facts.config[root]?.platform ?? '';
    assert.ok(platform !== '' && !platform.includes('linux'), `${path} is of ${platform}`);
  }
});

/** Asserts that one of the files says the word by which a property is known. */
function assertSpoken(path: string, files: readonly string[]): void {
  const own = path
    .split('.')
    .at(-1)
    ?.replace(/[[\]{}]/g, '');
  const word = PROPERTIES[path]?.as ?? own ?? '';
  const texts = files.map((file) => {
    const text = readText(file);
    assert.ok(text !== undefined, `there is no ${file}`);
    return text;
  });
  assert.ok(
    texts.some((text) => text.includes(word)),
    `none of ${files.join(', ')} has the word ${word}`,
  );
}

for (const [path, { is, shownBy, beside, alone }] of Object.entries(PROPERTIES)) {
  test(`tests that are named for ${path} speak of it`, () => {
    assert.ok(shownBy.length > 0);
    assertSpoken(path, shownBy);
  });
  if (is !== 'applied') continue;
  test(`${path} is compared with another runtime, or it is said why not`, () => {
    assert.equal(beside === undefined, alone !== undefined);
    if (beside !== undefined) assertSpoken(path, beside);
  });
}
