import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseUserOption } from './user-option.ts';

const ACCEPTED: [string, number, number | undefined][] = [
  ['0', 0, undefined],
  ['1000', 1000, undefined],
  ['1000:50', 1000, 50],
  ['2147483648', 2147483648, undefined],
  ['4294967294:0', 4294967294, 0],
];
for (const [text, uid, gid] of ACCEPTED) {
  test(`parseUserOption of "${text}"`, () => assert.deepEqual(parseUserOption(text), { uid, gid }));
}

const REFUSED = ['', ' 5', '5 ', '+5', '5x', '-1', '0x0', '05', '4294967295', '4294967296', '1e3'];
for (const text of [...REFUSED, ':', '1:', ':1', '1:2:3', 'root', '18446744073709551616', '１']) {
  test(`parseUserOption refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseUserOption(text), {
      kind: 'InvalidArgument',
      message: `--user ${JSON.stringify(text)} is not uid[:gid]`,
    });
  });
}
