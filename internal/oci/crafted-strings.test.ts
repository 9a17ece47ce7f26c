import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GREATEST_NAMES, GREATEST_SHORT_VALUES, refuseCraftedStrings } from './crafted-strings.ts';
import { parseProcess, parseResources, parseSeccomp, parseSpec } from './parse-spec.ts';

const members = (count: number) =>
  Array.from({ length: count }, (_, index) => `"k${index}" : "v:${index}"`).join(',\n');
const list = (count: number) =>
  JSON.stringify(Array.from({ length: count }, (_, index) => `v${index}`));

test('refuseCraftedStrings: as many names as are taken', () => {
  refuseCraftedStrings(`{${members(GREATEST_NAMES)}}`, 'x');
});

test('refuseCraftedStrings: one name too many, at any depth', () => {
  const problem = { message: 'x: has 4001 different names of properties, more than 4000' };
  assert.throws(() => refuseCraftedStrings(`{${members(GREATEST_NAMES + 1)}}`, 'x'), problem);
  const half = members(GREATEST_NAMES / 2).replaceAll('"k', '"l');
  const text = `{${members(GREATEST_NAMES / 2)}, "a": [{"b": 1}], "k1": {${half}}}`;
  assert.throws(() => refuseCraftedStrings(text, 'x'), {
    message: 'x: has 4002 different names of properties, more than 4000',
  });
});

test('refuseCraftedStrings: names that come again, and what only looks like names, do not count', () => {
  const same = Array.from({ length: 10_000 }, () => '{"path": "/dev/a", "type": "c"}');
  refuseCraftedStrings(`[${same.join()}]`, 'x');
  const quoted = Array.from({ length: 5000 }, (_, index) => JSON.stringify(`say "a${index}": b`));
  refuseCraftedStrings(`[${quoted.join()}]`, 'x');
});

test('refuseCraftedStrings: short values, not long ones', () => {
  refuseCraftedStrings(list(GREATEST_SHORT_VALUES), 'x');
  assert.throws(() => refuseCraftedStrings(list(GREATEST_SHORT_VALUES + 1), 'x'), {
    message: 'x: has 10001 different values of up to 10 letters, more than 10000',
  });
  refuseCraftedStrings(list(20_000).replaceAll('"v', '"a longer value: '), 'x');
});

const PARSERS = { parseSpec, parseProcess, parseResources, parseSeccomp };
for (const [name, parse] of Object.entries(PARSERS)) {
  test(`${name}: too many names are refused before they are taken`, () => {
    assert.throws(() => parse(`{"annotations": {${members(5000)}}}`, 'document'), {
      kind: 'InvalidArgument',
      code: 'TS_SPEC_TOO_LARGE',
      message: 'document: has 5001 different names of properties, more than 4000',
    });
  });
}
