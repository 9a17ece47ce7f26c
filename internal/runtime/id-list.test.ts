import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIdList } from './id-list.ts';

const LISTS: [string, number[]][] = [
  ['', []],
  ['3', [3]],
  ['0-2,7', [0, 1, 2, 7]],
  [' 4 , 1-1,4', [1, 4]],
];
for (const [text, ids] of LISTS) {
  test(`parseIdList of "${text}"`, () => assert.deepEqual(parseIdList(text, 'p'), ids));
}

for (const text of ['x', '3-1', '-1', '1-', '0-99999', '1;2']) {
  test(`parseIdList refuses "${text}"`, () => {
    assert.throws(() => parseIdList(text, 'linux.x'), {
      kind: 'InvalidArgument',
      message: `linux.x: ${JSON.stringify(text)} is no list of ids`,
    });
  });
}
