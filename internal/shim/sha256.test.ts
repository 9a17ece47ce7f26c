import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { sha256Hex } from './sha256.ts';

test('sha256Hex agrees with OpenSSL at every length around the block size', () => {
  for (let length = 0; length < 200; length++) {
    const text = Array.from({ length }, (_, index) =>
      String.fromCodePoint(33 + (index % 300)),
    ).join('');
    assert.equal(sha256Hex(text), createHash('sha256').update(text).digest('hex'), `${length}`);
  }
});
