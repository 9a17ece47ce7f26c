import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TsError } from '../errors/index.ts';
import { ignoreEnded, Undo, unlessGone } from './undo.ts';

const ended = [
  new TsError('NotFound', 'task "a"'),
  new TsError('Unknown', 'process already finished'),
  new TsError('FailedPrecondition', 'container a: not running'),
  new TsError('Unavailable', 'shim of a50a has ended'),
];
for (const error of ended) {
  test(`ignoreEnded: ${error.message}: it has ended`, () => ignoreEnded(error));
}

test('ignoreEnded: other errors are thrown', () => {
  for (const error of [
    new TsError('Unavailable', 'connect to shim: ECONNREFUSED'),
    new TsError('PermissionDenied', 'kill 5: EPERM'),
  ]) {
    assert.throws(() => ignoreEnded(error), error);
  }
});

test('unlessGone: what is gone is success, other errors are thrown', async () => {
  await unlessGone(Promise.reject(new TsError('NotFound', 'x')));
  const error = new TsError('Unknown', 'y');
  await assert.rejects(unlessGone(Promise.reject(error)), error);
});

test('Undo: backwards, to its end, and the first error counts', async () => {
  const undo = new Undo();
  const done: number[] = [];
  for (const step of [1, 2, 3]) {
    undo.add(async () => {
      done.push(step);
      if (step === 2) throw new Error('undo 2');
    });
  }
  const error = await undo.after(new TsError('NotFound', 'first'));
  assert.deepEqual(done, [3, 2, 1]);
  assert.equal(error.message, 'first');
  assert.deepEqual(
    error.cleanup.map(({ message }) => message),
    ['undo 2'],
  );
});
