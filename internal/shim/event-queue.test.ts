import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventQueue, retryDelayMs } from './event-queue.ts';

test('EventQueue gives events in their order', () => {
  const queue = new EventQueue<number>(3);
  for (const event of [1, 2, 3]) queue.push(event);
  const seen: (number | undefined)[] = [];
  while (queue.length > 0) {
    seen.push(queue.first);
    queue.shift();
  }
  assert.deepEqual(seen, [1, 2, 3]);
  assert.equal(queue.first, undefined);
});

test('EventQueue drops the oldest but the one that may be on its way', () => {
  const queue = new EventQueue<number>(3);
  for (const event of [1, 2, 3, 4, 5]) queue.push(event);
  assert.equal(queue.dropped, 2);
  assert.equal(queue.length, 3);
  assert.equal(queue.first, 1);
  queue.shift();
  assert.equal(queue.first, 4);
});

test('retryDelayMs grows to five seconds', () => {
  assert.deepEqual([1, 2, 5, 6, 100].map(retryDelayMs), [1000, 2000, 5000, 5000, 5000]);
});
