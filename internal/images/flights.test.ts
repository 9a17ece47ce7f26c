import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flights } from './flights.ts';

test('Flights: a key’s work is done alone, one caller after the other', async () => {
  const flights = new Flights();
  let running = 0;
  const work = async (): Promise<void> => {
    assert.equal(++running, 1);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
  };
  await Promise.all([1, 2, 3].map(() => flights.run('key', undefined, work)));
});

test('Flights: a caller that goes away waits no longer, the others do', async () => {
  const flights = new Flights();
  const { promise, resolve } = Promise.withResolvers<string>();
  const first = flights.run('key', undefined, () => promise);
  const caller = new AbortController();
  const second = flights.run('key', caller.signal, async () => assert.fail('it was alone'));
  const third = flights.run('key', undefined, async () => 'third');
  caller.abort(new Error('gone'));
  await assert.rejects(second, { message: 'gone' });
  resolve('first');
  assert.deepEqual(await Promise.all([first, third]), ['first', 'third']);
});

test('Flights: the first caller’s error is not the others’', async () => {
  const flights = new Flights();
  const first = flights.run('key', undefined, () => Promise.reject(new Error('first')));
  const second = flights.run('key', undefined, async () => 'made');
  await assert.rejects(first, { message: 'first' });
  assert.equal(await second, 'made');
});
