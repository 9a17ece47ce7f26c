import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { Echo, temporarySocket } from './echo.fixture.ts';
import { encodeFrame } from './frame.ts';
import { TtrpcClient, TtrpcServer } from './index.ts';
import { encodeRequest } from './messages.ts';

const KIB = 'x'.repeat(1024);

test('backpressure: a server stream waits for a client that does not read', async () => {
  using socket = temporarySocket();
  let produced = 0;
  const server = new TtrpcServer().add(Echo, {
    async *split() {
      for (; produced < 100_000; produced += 1) yield { text: KIB };
    },
  });
  await server.listen(socket.path);
  using client = await TtrpcClient.connect(socket.path, { maxBufferedBytes: 256 * 1024 });
  const stream = client.service(Echo).split({ text: '' });
  await settled(() => produced);
  assert.ok(produced < 5000, `${produced} KiB were produced for a reader of none`);
  let read = 0;
  for await (const message of stream) {
    read += 1;
    assert.equal(message.text.length, 1024);
    if (read === 20_000) break;
  }
  await server.shutdown(0);
});

test('backpressure: a client stream waits for a server that does not read', async () => {
  using socket = temporarySocket();
  const release = Promise.withResolvers<void>();
  const server = new TtrpcServer({ maxBufferedBytes: 256 * 1024 }).add(Echo, {
    async join(requests) {
      await release.promise;
      let count = 0;
      for await (const _ of requests) count += 1;
      return { text: `${count}` };
    },
  });
  await server.listen(socket.path);
  using client = await TtrpcClient.connect(socket.path);
  let sent = 0;
  const answer = client.service(Echo).join(
    (async function* () {
      for (; sent < 10_000; sent += 1) yield { text: KIB };
    })(),
  );
  await settled(() => sent);
  assert.ok(sent < 5000, `${sent} KiB were sent to a reader of none`);
  release.resolve();
  assert.deepEqual(await answer, { text: '10000' });
  await server.shutdown(0);
});

test('backpressure: requests of a client that reads no answers are left unread', async () => {
  using socket = temporarySocket();
  let served = 0;
  const server = new TtrpcServer({ maxBufferedBytes: 256 * 1024 }).add(Echo, {
    async once() {
      served += 1;
      return { text: KIB };
    },
  });
  await server.listen(socket.path);
  const peer = connect(socket.path);
  peer.pause();
  for (let streamId = 1; streamId < 40_000; streamId += 2) {
    const data = encodeRequest({
      service: 'test.Echo',
      method: 'Once',
      payload: undefined,
      timeoutNano: 0n,
      metadata: [],
    });
    peer.write(encodeFrame({ streamId, type: 1, flags: 0, data }));
  }
  await settled(() => served);
  assert.ok(served < 10_000, `${served} of 20000 requests were served`);
  peer.resume();
  await reached(() => served, 20_000);
  peer.destroy();
  await server.shutdown(0);
});

/** Waits until a counter has a value; fails when it has stood still below it for 10 s. */
async function reached(counter: () => number, value: number): Promise<void> {
  let last = -1;
  for (let stillMs = 0; counter() < value; stillMs += 20) {
    if (counter() !== last) stillMs = 0;
    last = counter();
    assert.ok(stillMs < 10_000, `${last} of ${value}, and no more`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(counter(), value);
}

/** Waits until a counter has stood still for 100 ms. */
async function settled(counter: () => number): Promise<void> {
  for (let before = -1; before !== counter(); ) {
    before = counter();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
