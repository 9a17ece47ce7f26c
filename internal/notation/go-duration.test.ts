import assert from 'node:assert/strict';
import { test } from 'node:test';
import { notDuration, parseDurationMs } from './go-duration.ts';

/** As Go's time.ParseDuration has it. */
const DURATIONS: readonly (readonly [text: string, ms: number | undefined])[] = [
  ['5s', 5000],
  ['+5s', 5000],
  ['1m30s', 90_000],
  ['1h2m3s4ms', 3_723_004],
  ['1.5h', 5_400_000],
  ['.5s', 500],
  ['5.s', 5000],
  ['250ms', 250],
  ['500us', 0.5],
  ['500µs', 0.5],
  ['500\u03bcs', 0.5],
  ['1000000ns', 1],
  ['0', 0],
  ['+0', 0],
  ['0s', 0],
  ['-2s', -2000],
  ['-1m30s', -90_000],
  ['5', undefined],
  ['', undefined],
  ['s', undefined],
  ['.s', undefined],
  ['-', undefined],
  ['1s-2s', undefined],
  ['1 s', undefined],
  ['1s ', undefined],
  ['1d', undefined],
  ['1S', undefined],
  ['1e3s', undefined],
  ['00', undefined],
];
for (const [text, expected] of DURATIONS) {
  test(`parseDurationMs of "${text}"`, () => assert.equal(parseDurationMs(text), expected));
}

for (const [value, expected] of [
  ['soon', 'must be a duration such as "5s", not "soon"'],
  [true, 'must be a duration such as "5s", not true'],
] as const) {
  test(`notDuration of ${value}`, () => assert.equal(notDuration(value), expected));
}
