import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isAlive, parseProcessStat, pidSeenInside, readProcessStat } from './process-stat.ts';

test('parseProcessStat: a name with parentheses and blanks does not shift fields', () => {
  const text =
    '42 (a) b (c)) S 7 42 42 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 98765 1000 10 18446744073709551615\n';
  assert.deepEqual(parseProcessStat(text), { state: 'S', parent: 7, startTime: 98765 });
});

test('isAlive: this process is, with its own start time only', () => {
  const stat = readProcessStat(process.pid);
  assert.ok(stat !== undefined);
  assert.equal(isAlive(process.pid, stat.startTime), true);
  assert.equal(isAlive(process.pid, stat.startTime - 1), false);
});

test('readProcessStat: undefined for a pid that no process has', () => {
  assert.equal(readProcessStat(0x3fffffff), undefined);
});

test('pidSeenInside: its own of this process, which is in the pid namespace of its /proc', () => {
  assert.equal(pidSeenInside(process.pid), process.pid);
});
