import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nowNs, timestampFromNs, timestampToNs } from './time.ts';

for (const ns of [0n, 1n, 999_999_999n, 1_000_000_000n, 1_700_000_000_123_456_789n, -1n]) {
  test(`timestampFromNs: ${ns} comes back`, () => {
    const timestamp = timestampFromNs(ns);
    assert.ok(timestamp.nanos >= 0 && timestamp.nanos < 1e9);
    assert.equal(timestampToNs(timestamp), ns);
  });
}

test('nowNs: follows the wall clock and does not go back', () => {
  let last = 0n;
  for (let i = 0; i < 10_000; i++) {
    const now = nowNs();
    assert.ok(now >= last, 'time went back');
    last = now;
  }
  assert.ok(Math.abs(Number(last / 1_000_000n) - Date.now()) < 50);
});
