import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ownStatusSet, statusSet } from './own-status.ts';

const STATUS =
  'Name:\tnode\nSigIgn:\t0000000180001000\nCapBnd:\t000001fffeffffff\nNoNewPrivs:\t0\n';

for (const { name, expected } of [
  { name: 'SigIgn', expected: 0x180001000n },
  { name: 'CapBnd', expected: 0x1fffeffffffn },
  { name: 'CapAmb', expected: 0n },
]) {
  test(`statusSet of ${name}`, () => {
    assert.equal(statusSet(STATUS, name), expected);
  });
}

test('ownStatusSet reads what the kernel says of this process: Node ignores SIGPIPE', () => {
  const SIGPIPE = 13n;
  assert.equal((ownStatusSet('SigIgn') >> (SIGPIPE - 1n)) & 1n, 1n);
});
