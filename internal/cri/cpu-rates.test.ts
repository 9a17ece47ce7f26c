import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CpuRates } from './cpu-rates.ts';

const SECOND = 1_000_000_000n;

test('CpuRates: since the start at first, then since the last look', () => {
  const rates = new CpuRates();
  assert.equal(rates.rate('a', 2n * SECOND, 14n * SECOND, 10n * SECOND), SECOND / 2n);
  assert.equal(rates.rate('a', 3n * SECOND, 15n * SECOND, 10n * SECOND), SECOND);
  assert.equal(rates.rate('a', 3n * SECOND, 20n * SECOND, 10n * SECOND), 0n);
  assert.equal(rates.rate('b', 0n, 11n * SECOND, 10n * SECOND), 0n);
});

test('CpuRates: a moment later there is no new answer, and at the start none', () => {
  const rates = new CpuRates();
  assert.equal(rates.rate('a', 5n, 10n * SECOND + 1n, 10n * SECOND), undefined);
  assert.equal(rates.rate('a', SECOND, 12n * SECOND, 10n * SECOND), SECOND / 2n);
  assert.equal(rates.rate('a', 2n * SECOND, 12n * SECOND + 1n, 10n * SECOND), SECOND / 2n);
});

test('CpuRates: a counter that begins anew, and ids that are gone', () => {
  const rates = new CpuRates();
  rates.rate('a', 9n * SECOND, 11n * SECOND, 10n * SECOND);
  assert.equal(rates.rate('a', SECOND, 12n * SECOND, 10n * SECOND), SECOND);
  rates.keepOnly(new Set(['b']));
  assert.equal(rates.rate('a', SECOND, 20n * SECOND, 10n * SECOND), SECOND / 10n);
});
