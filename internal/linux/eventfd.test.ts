import assert from 'node:assert/strict';
import { readSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { createEventFd } from './eventfd.ts';
import { OwnedFd } from './fd.ts';
import { waitReadable } from './poll.ts';

test('createEventFd: becomes readable when it is counted up, and gives the sum', async () => {
  using eventFd = new OwnedFd(createEventFd());
  const sum = new BigUint64Array(1);
  const bytes = new Uint8Array(sum.buffer);
  assert.throws(() => readSync(eventFd.number, bytes), { code: 'EAGAIN' });
  const readable = waitReadable(eventFd.number);
  for (const count of [2n, 3n]) {
    writeSync(eventFd.number, new Uint8Array(new BigUint64Array([count]).buffer));
  }
  await readable;
  readSync(eventFd.number, bytes);
  assert.equal(sum[0], 5n);
});

test('waitReadable: given up by a signal, before or while it waits', async () => {
  using eventFd = new OwnedFd(createEventFd());
  const controller = new AbortController();
  const waiting = waitReadable(eventFd.number, controller.signal);
  controller.abort(new Error('enough'));
  await assert.rejects(waiting, { message: 'enough' });
  await assert.rejects(waitReadable(eventFd.number, controller.signal), { message: 'enough' });
});
