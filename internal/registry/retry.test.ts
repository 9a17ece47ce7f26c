import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TsError } from '../errors/index.ts';
import { RETRY_AFTER_MS, retryAfterMs, retrying } from './retry.ts';

const policy = { attempts: 3, baseDelayMs: 1, maxDelayMs: 5 };
const busy = (fields = {}): TsError => new TsError('Unavailable', 'busy', { fields });

test('retrying: Unavailable is tried again, up to the last attempt', async () => {
  let calls = 0;
  await assert.rejects(
    retrying(policy, undefined, async () => {
      calls++;
      throw busy();
    }),
    { message: 'busy' },
  );
  assert.equal(calls, 3);
});

test('retrying: other errors are final', async () => {
  let calls = 0;
  const work = async (): Promise<never> => {
    calls++;
    throw new TsError('NotFound', 'gone');
  };
  await assert.rejects(retrying(policy, undefined, work), { message: 'gone' });
  assert.equal(calls, 1);
});

test('retrying: an attempt that got further begins the count anew', async () => {
  let calls = 0;
  const result = await retrying(
    policy,
    undefined,
    async () => {
      if (++calls < 10) throw busy();
      return calls;
    },
    () => true,
  );
  assert.equal(result, 10);
});

test('retrying: a server’s wish is waited for, within the limit', async () => {
  let calls = 0;
  const startMs = performance.now();
  await retrying({ ...policy, maxDelayMs: 50 }, undefined, async () => {
    if (++calls === 1) throw busy({ [RETRY_AFTER_MS]: 1e9 });
  });
  const ms = performance.now() - startMs;
  assert.ok(ms >= 45 && ms < 5000, `${ms} ms`);
});

test('retrying: a pause ends when the caller goes away', async () => {
  const caller = new AbortController();
  const work = async (): Promise<never> => {
    setImmediate(() => caller.abort());
    throw busy({ [RETRY_AFTER_MS]: 1e9 });
  };
  await assert.rejects(retrying({ ...policy, maxDelayMs: 1e9 }, caller.signal, work), {
    name: 'AbortError',
  });
});

const headers: [string | undefined, number | undefined][] = [
  [undefined, undefined],
  ['0', 0],
  ['120', 120_000],
  ['Thu, 01 Jan 1970 00:00:10 GMT', 9000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['soon', undefined],
];
for (const [header, expected] of headers) {
  test(`retryAfterMs: ${header}`, () => assert.equal(retryAfterMs(header, 1000), expected));
}
