import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Code, TtrpcError } from '../../ttrpc/index.ts';
import { Abandonment } from './abandonment.ts';

test('work is given up at the deadline of its request at once', () => {
  const request = new AbortController();
  using abandonment = new Abandonment(request.signal);
  assert.equal(abandonment.signal.aborted, false);
  const late = new TtrpcError(Code.DEADLINE_EXCEEDED, 'too late');
  request.abort(late);
  assert.equal(abandonment.signal.reason, late);
});

test('work whose client has gone away goes on for a while', async () => {
  const request = new AbortController();
  using abandonment = new Abandonment(request.signal, 20);
  const gone = new TtrpcError(Code.UNAVAILABLE, 'connection closed');
  request.abort(gone);
  assert.equal(abandonment.signal.aborted, false);
  await once(abandonment.signal, 'abort');
  assert.equal(abandonment.signal.reason, gone);
});

test('a request that was over before it began', () => {
  const late = new TtrpcError(Code.DEADLINE_EXCEEDED, 'too late');
  using abandonment = new Abandonment(AbortSignal.abort(late));
  assert.equal(abandonment.signal.reason, late);
});

test('work that is done is not given up later', async () => {
  const request = new AbortController();
  const abandonment = new Abandonment(request.signal, 5);
  request.abort(new TtrpcError(Code.UNAVAILABLE, 'connection closed'));
  abandonment[Symbol.dispose]();
  const { promise, resolve } = Promise.withResolvers<void>();
  setTimeout(resolve, 20);
  await promise;
  assert.equal(abandonment.signal.aborted, false);
});
