import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StreamRequests } from './stream-requests.ts';

describe('requests behind tokens', () => {
  it('a token works once', () => {
    const requests = new StreamRequests<string>();
    const [one, two] = [requests.add('one'), requests.add('two')];
    assert.notEqual(one, two);
    assert.match(one, /^[\w-]{8}$/);
    assert.equal(requests.take(two), 'two');
    assert.equal(requests.take(two), undefined);
    assert.equal(requests.take('nobodys1'), undefined);
    assert.equal(requests.take(one), 'one');
  });

  it('a token works for a minute', () => {
    let nowMs = 0;
    const requests = new StreamRequests<string>(() => nowMs);
    const [early, late] = [requests.add('early'), requests.add('late')];
    nowMs = 59_999;
    assert.equal(requests.take(early), 'early');
    nowMs = 60_000;
    assert.equal(requests.take(late), undefined);
  });

  it('a thousand may wait, and those that are too old make room', () => {
    let nowMs = 0;
    const requests = new StreamRequests<number>(() => nowMs);
    for (let index = 0; index < 1000; index++) requests.add(index);
    nowMs = 59_999;
    assert.throws(() => requests.add(1000), {
      kind: 'ResourceExhausted',
      message: 'streaming: 1000 requests wait to be called for',
    });
    nowMs = 60_000;
    assert.equal(requests.take(requests.add(1001)), 1001);
  });
});
