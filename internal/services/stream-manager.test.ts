import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AnyMessage, packAny, unpackAny } from '../api/any.ts';
import { Data, WindowUpdate } from '../api/generated/containerd.types.transfer.ts';
import { receiveBytes, sendBytes } from './byte-stream.ts';
import { StreamManager } from './stream-manager.ts';

const scope = { namespace: 'default' };
const message = (text: string): AnyMessage => ({ typeUrl: text, value: new Uint8Array() });

async function* from(...messages: AnyMessage[]): AsyncGenerator<AnyMessage> {
  yield* messages;
}

test('StreamManager: what is sent comes out in order, and the stream ends', async () => {
  const streams = new StreamManager();
  const outgoing = streams.open(scope, 's', from(), new AbortController().signal);
  const stream = streams.get(scope, 's');
  void stream.send(message('1'));
  void stream.send(message('2'));
  stream.close();
  const seen: string[] = [];
  for await (const { typeUrl } of outgoing) seen.push(typeUrl);
  assert.deepEqual(seen, ['1', '2']);
  assert.throws(() => streams.get(scope, 's'), {
    kind: 'NotFound',
    message: 'stream s: not found',
  });
});

test('StreamManager: a name is taken once in a namespace', () => {
  const streams = new StreamManager();
  const { signal } = new AbortController();
  streams.open(scope, 's', from(), signal);
  assert.throws(() => streams.open(scope, 's', from(), signal), {
    kind: 'AlreadyExists',
    message: 'stream s: already exists',
  });
  streams.open({ namespace: 'other' }, 's', from(), signal);
  assert.throws(() => streams.get({ namespace: 'third' }, 's'), { kind: 'NotFound' });
});

test('StreamManager: a client that goes away frees the name and fails who sends', async () => {
  const streams = new StreamManager();
  const client = new AbortController();
  const outgoing = streams.open(scope, 's', from(), client.signal);
  const stream = streams.get(scope, 's');
  client.abort();
  for await (const _ of outgoing) assert.fail('nothing was sent');
  await assert.rejects(stream.send(message('late')), {
    kind: 'Unavailable',
    message: 'the client closed the stream',
  });
  streams.open(scope, 's', from(), new AbortController().signal);
});

test('StreamManager: a client that goes away before anything is read frees the name', async () => {
  const streams = new StreamManager();
  const client = new AbortController();
  streams.open(scope, 's', from(), client.signal);
  const sent = streams.get(scope, 's').send(message('unread'));
  client.abort();
  await sent; // nobody waits for what nobody reads
  assert.deepEqual(streams.names(), []);
  assert.throws(() => streams.open(scope, 's', from(), client.signal), { name: 'AbortError' });
  assert.deepEqual(streams.names(), []);
  streams.open(scope, 's', from(), new AbortController().signal);
});

test('receiveBytes: grants a window and gives the bytes', async () => {
  const streams = new StreamManager();
  const data = Array.from({ length: 100 }, (_, i) =>
    packAny(Data, { data: Buffer.alloc(32 * 1024, i) }),
  );
  const outgoing = streams.open(scope, 's', from(...data), new AbortController().signal);
  let granted = 0;
  const client = (async () => {
    for await (const sent of outgoing) granted += unpackAny(sent, WindowUpdate)?.update ?? 0;
  })();
  let received = 0;
  for await (const chunk of receiveBytes(streams.get(scope, 's'))) received += chunk.length;
  await client;
  assert.equal(received, 100 * 32 * 1024);
  assert.ok(granted >= received, `${granted} granted`);
});

test('sendBytes: stays within the window, in messages of at most 32 KiB', async () => {
  const streams = new StreamManager();
  let grant: (update: number) => void = () => {};
  async function* windows(): AsyncGenerator<AnyMessage> {
    for (;;) {
      const update = await new Promise<number>((resolve) => {
        grant = resolve;
      });
      if (update === 0) return;
      yield packAny(WindowUpdate, { update });
    }
  }
  const outgoing = streams.open(scope, 's', windows(), new AbortController().signal);
  async function* source(): AsyncGenerator<Buffer> {
    yield Buffer.alloc(100_000, 1);
    yield Buffer.alloc(1, 2);
  }
  const sending = sendBytes(streams.get(scope, 's'), source());
  const sizes: number[] = [];
  let open = 0;
  setImmediate(() => grant(40_000));
  open += 40_000;
  for await (const sent of outgoing) {
    const size = unpackAny(sent, Data)?.data.length ?? 0;
    assert.ok(size <= 32 * 1024);
    sizes.push(size);
    open -= size;
    assert.ok(open >= 0, 'more than the window was sent');
    if (open === 0) {
      open += 40_000;
      setImmediate(() => grant(40_000));
    }
  }
  await sending;
  assert.equal(
    sizes.reduce((sum, size) => sum + size, 0),
    100_001,
  );
});
