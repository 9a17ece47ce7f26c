import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Echo } from './echo.fixture.ts';
import { type CallContext, Code, TtrpcClient, TtrpcError } from './index.ts';
import { aborted, collect, isError, serve, texts } from './serve.fixture.ts';

test('calls: a unary call is answered', async () => {
  await using at = await serve();
  assert.deepEqual(await at.echo.once({ text: 'hello' }), { text: 'hello!' });
});

test('calls: an empty request and an empty response pass', async () => {
  await using at = await serve({ once: async ({ text }) => ({ text }) });
  assert.deepEqual(await at.echo.once({ text: '' }), { text: '' });
});

test('calls: the server streams', async () => {
  await using at = await serve();
  assert.deepEqual(await collect(at.echo.split({ text: 'one two three' })), [
    'one',
    'two',
    'three',
  ]);
});

test('calls: the client streams', async () => {
  await using at = await serve();
  assert.deepEqual(await at.echo.join(texts('one', 'two')), { text: 'one two' });
  assert.deepEqual(await at.echo.join(texts()), { text: '' });
});

test('calls: both stream, turn by turn', async () => {
  await using at = await serve();
  let release = (): void => {};
  const answers = at.echo.each(
    (async function* () {
      for (const text of ['a', 'b', 'c']) {
        yield { text };
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      }
    })(),
  );
  const seen = [];
  for await (const { text } of answers) {
    seen.push(text);
    setImmediate(() => release());
  }
  assert.deepEqual(seen, ['A', 'B', 'C']);
});

test('calls: an empty message in a stream is a message', async () => {
  await using at = await serve();
  assert.deepEqual(await collect(at.echo.each(texts('', 'x', ''))), ['', 'X', '']);
});

test('calls: 500 at once on one connection each get their own answer', async () => {
  await using at = await serve({
    async once({ text }) {
      await new Promise((resolve) => setTimeout(resolve, Number(text) % 7));
      return { text };
    },
  });
  const answers = await Promise.all(
    Array.from({ length: 500 }, (_, index) => at.echo.once({ text: `${index}` })),
  );
  assert.deepEqual(
    answers.map(({ text }) => Number(text)),
    Array.from({ length: 500 }, (_, index) => index),
  );
});

test('calls: 1000 connections to one server', async () => {
  await using at = await serve();
  const clients = await Promise.all(
    Array.from({ length: 1000 }, () => TtrpcClient.connect(at.path)),
  );
  const answers = await Promise.all(
    clients.map((client, index) => client.service(Echo).once({ text: `${index}` })),
  );
  assert.equal(new Set(answers.map(({ text }) => text)).size, 1000);
  assert.equal(at.server.connectionCount, 1001);
  for (const client of clients) client.close();
});

test('calls: metadata arrives in lower case, in order, repeated', async () => {
  let seen: unknown;
  await using at = await serve({
    async once(_request, { metadata }) {
      seen = [...metadata];
      return { text: '' };
    },
  });
  const metadata = [
    ['Name-Space', 'one'],
    ['other', 'x'],
    ['name-space', 'two'],
    ['__proto__', 'p'],
  ] as const;
  await at.echo.once({ text: '' }, { metadata });
  assert.deepEqual(seen, [
    ['name-space', ['one', 'two']],
    ['other', ['x']],
    ['__proto__', ['p']],
  ]);
});

const THROWN: [name: string, thrown: unknown, code: number, message: string][] = [
  ['a TtrpcError', new TtrpcError(Code.NOT_FOUND, 'no such task'), Code.NOT_FOUND, 'no such task'],
  ['an Error', new Error('boom'), Code.UNKNOWN, 'boom'],
  ['a string', 'text', Code.UNKNOWN, 'text'],
  ['an abort', new DOMException('gone', 'AbortError'), Code.CANCELLED, 'gone'],
  ['a timeout', new DOMException('late', 'TimeoutError'), Code.DEADLINE_EXCEEDED, 'late'],
  ['what the hook knows', { kind: 'busy' }, Code.FAILED_PRECONDITION, 'it is busy'],
];

for (const [name, thrown, code, message] of THROWN) {
  test(`calls: ${name} thrown by any kind of handler arrives as ${code}`, async () => {
    await using at = await serve(
      {
        once: () => Promise.reject(thrown),
        // biome-ignore lint/correctness/useYield: it throws before it has anything to yield
        split: async function* () {
          throw thrown;
        },
        join: () => {
          throw thrown;
        },
        each: async function* (requests) {
          yield* requests;
          throw thrown;
        },
      },
      {
        errorToStatus: (error) =>
          (error as { kind?: string }).kind === 'busy'
            ? { code: Code.FAILED_PRECONDITION, message: 'it is busy', details: [] }
            : undefined,
      },
    );
    await assert.rejects(at.echo.once({ text: '' }), isError(code, message));
    await assert.rejects(collect(at.echo.split({ text: '' })), isError(code, message));
    await assert.rejects(at.echo.join(texts('a')), isError(code, message));
    const each = at.echo.each(texts('a'));
    assert.deepEqual((await each.next()).value, { text: 'a' });
    await assert.rejects(each.next(), isError(code, message));
  });
}

test('calls: details of an error arrive', async () => {
  const details = [{ typeUrl: 'test.Detail', value: Buffer.from([1, 2, 3]) }];
  await using at = await serve({
    once: () => Promise.reject(new TtrpcError(Code.ABORTED, 'why', { details })),
  });
  await assert.rejects(at.echo.once({ text: '' }), (thrown: TtrpcError) => {
    assert.deepEqual(thrown.details, details);
    return true;
  });
});

test('calls: unknown services and methods are UNIMPLEMENTED', async () => {
  await using at = await serve({ once: async () => ({ text: '' }) });
  await assert.rejects(
    collect(at.echo.split({ text: '' })),
    isError(Code.UNIMPLEMENTED, 'method test.Echo/Split is not served'),
  );
  const other = at.client.service({ ...Echo, typeName: 'test.Other' });
  await assert.rejects(
    other.once({ text: '' }),
    isError(Code.UNIMPLEMENTED, 'service test.Other is not served'),
  );
});

test('deadline: it ends the call on both sides', async () => {
  const context = Promise.withResolvers<CallContext>();
  await using at = await serve({
    async once(_request, callContext) {
      context.resolve(callContext);
      await aborted(callContext);
      return { text: 'too late' };
    },
  });
  await assert.rejects(
    at.echo.once({ text: '' }, { timeoutMs: 30 }),
    isError(Code.DEADLINE_EXCEEDED, 'test.Echo/Once: deadline exceeded'),
  );
  const reason = await aborted(await context.promise);
  assert.equal(reason.code, Code.DEADLINE_EXCEEDED);
  await using usable = await serve();
  assert.deepEqual(await usable.echo.once({ text: 'a' }, { timeoutMs: 10_000 }), { text: 'a!' });
});

test('deadline: one of 100 days does not fire at once', async () => {
  await using at = await serve();
  const timeoutMs = 100 * 24 * 3600 * 1000;
  assert.deepEqual(await at.echo.once({ text: 'a' }, { timeoutMs }), { text: 'a!' });
});

test('cancel: an aborted call ends at once and the connection goes on', async () => {
  await using at = await serve({
    async once({ text }, context) {
      if (text === 'wait') await aborted(context);
      return { text };
    },
  });
  const controller = new AbortController();
  const call = at.echo.once({ text: 'wait' }, { signal: controller.signal });
  controller.abort();
  await assert.rejects(call, isError(Code.CANCELLED, 'test.Echo/Once: aborted'));
  assert.deepEqual(await at.echo.once({ text: 'next' }), { text: 'next' });
  await assert.rejects(at.echo.once({ text: '' }, { signal: AbortSignal.abort() }), {
    code: Code.CANCELLED,
  });
});

test('cancel: leaving a stream early ends the input that the server reads', async () => {
  const ended = Promise.withResolvers<void>();
  await using at = await serve({
    async *each(requests) {
      try {
        for await (const { text } of requests) yield { text };
      } finally {
        ended.resolve();
      }
    },
  });
  let isReturned = false;
  const source = (async function* () {
    try {
      for (;;) yield { text: 'again' };
    } finally {
      isReturned = true;
    }
  })();
  for await (const { text } of at.echo.each(source)) {
    assert.equal(text, 'again');
    break;
  }
  await ended.promise;
  assert.equal(isReturned, true);
});

test('cancel: an error in the source of requests fails the call with that error', async () => {
  await using at = await serve();
  const mine = new Error('source is dry');
  const source = (async function* () {
    yield { text: 'a' };
    throw mine;
  })();
  await assert.rejects(at.echo.join(source), (thrown) => thrown === mine);
});

test('cancel: a closing client aborts its handlers', async () => {
  const reason = Promise.withResolvers<TtrpcError>();
  const started = Promise.withResolvers<void>();
  await using at = await serve({
    async once(_request, context) {
      started.resolve();
      reason.resolve(await aborted(context));
      return { text: '' };
    },
  });
  const call = at.echo.once({ text: '' });
  await started.promise;
  at.client.close();
  await assert.rejects(call, isError(Code.CANCELLED, 'client closed'));
  assert.equal((await reason.promise).code, Code.UNAVAILABLE);
  await assert.rejects(at.echo.once({ text: '' }), isError(Code.CANCELLED, 'client closed'));
});
