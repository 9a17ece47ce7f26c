// Dead shims at the start of a daemon, in short: a hundred of them, and the time, are `make soak-shims`.
import { test } from 'node:test';
import { skipCri } from '../fixtures/cri.ts';
import { soakShims } from './soak-shims.ts';

test('pods whose shims were killed are told apart from those that live', {
  skip: skipCri(),
}, async (t) => {
  const { readyMs } = await soakShims(4, 4);
  t.diagnostic(`${Math.round(readyMs)} ms`);
});
