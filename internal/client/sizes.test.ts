import assert from 'node:assert/strict';
import { test } from 'node:test';
import { binarySize, decimalSize, humanDuration } from './sizes.ts';

for (const [bytes, binary, decimal] of [
  [0, '0.0 B', '0B'],
  [1023, '1023.0 B', '1.023kB'],
  [1052904, '1.0 MiB', '1.053MB'],
  [2027520, '1.9 MiB', '2.028MB'],
  [5 * 1024 ** 4, '5.0 TiB', '5.498TB'],
] as const) {
  test(`sizes of ${bytes} bytes`, () => {
    assert.deepEqual([binarySize(bytes), decimalSize(bytes)], [binary, decimal]);
  });
}

const MINUTE = 60_000;
for (const [ms, text] of [
  [999, 'Less than a second'],
  [1000, '1 second'],
  [59_999, '59 seconds'],
  [MINUTE, 'About a minute'],
  [59 * MINUTE, '59 minutes'],
  [60 * MINUTE, 'About an hour'],
  [47 * 60 * MINUTE, '47 hours'],
  [48 * 60 * MINUTE, '2 days'],
  [14 * 24 * 60 * MINUTE, '2 weeks'],
  [61 * 24 * 60 * MINUTE, '2 months'],
  [800 * 24 * 60 * MINUTE, '2 years'],
] as const) {
  test(`humanDuration: ${ms} ms`, () => assert.equal(humanDuration(ms), text));
}
