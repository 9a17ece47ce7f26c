import assert from 'node:assert/strict';
import { test } from 'node:test';
import { together } from './task-group.ts';

test('together: a failure stops the others and waits for them', async () => {
  const ended: string[] = [];
  const slow = (signal: AbortSignal): Promise<void> =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        setImmediate(() => {
          ended.push('slow');
          reject(new Error('stopped'));
        });
      });
    });
  const failing = together(undefined, async (group) => {
    const parts = [
      group.start(() => slow(group.signal)),
      group.start(() => Promise.reject(new Error('first'))),
    ];
    await Promise.all(parts);
  });
  await assert.rejects(failing, { message: 'first' });
  assert.deepEqual(ended, ['slow']);
});

test('together: the caller’s signal reaches the parts', async () => {
  const caller = new AbortController();
  const running = together(caller.signal, async (group) => {
    caller.abort();
    group.signal.throwIfAborted();
  });
  await assert.rejects(running, { name: 'AbortError' });
});
