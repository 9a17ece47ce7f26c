/**
 * What a server makes of input that breaks the protocol: it answers on the stream concerned and
 * goes on serving. Each row is sent on a fresh connection, followed by a good request.
 */
import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { Echo, Text, temporarySocket } from './echo.fixture.ts';
import { encodeFrame, type Frame, FrameDecoder, MAX_DATA_LENGTH } from './frame.ts';
import { Code, codeName, TtrpcClient, TtrpcServer } from './index.ts';
import { decodeResponse, encodeRequest } from './messages.ts';

const EMPTY = new Uint8Array(0);

/** The id of the good request that ends each row. */
const LAST = 1001;

const text = (value: string): Uint8Array => Text.encode({ text: value });

function request(method: string, payload?: Uint8Array, service = 'test.Echo'): Uint8Array {
  return encodeRequest({ service, method, payload, timeoutNano: 0n, metadata: [] });
}

const frame = (streamId: number, type: number, flags: number, data: Uint8Array): Frame => ({
  streamId,
  type,
  flags,
  data,
});

const once = (streamId: number): Frame => frame(streamId, 1, 0, request('Once', text('a')));

async function startServer(options = {}) {
  const socket = temporarySocket();
  const server = new TtrpcServer(options).add(Echo, {
    once: async ({ text: value }) => ({ text: value }),
    async join(requests) {
      let joined = '';
      for await (const { text: value } of requests) joined += value;
      return { text: joined };
    },
    async *split({ text: value }) {
      yield* Array.from(value, (letter) => ({ text: letter }));
    },
  });
  await server.listen(socket.path);
  return {
    path: socket.path,
    server,
    async [Symbol.asyncDispose]() {
      await server.shutdown(0);
      socket[Symbol.dispose]();
    },
  };
}

/** Sends bytes and gathers the frames that come back up to the one on stream LAST. */
async function exchange(path: string, bytes: Uint8Array[]): Promise<Frame[]> {
  const socket = connect(path);
  const frames: Frame[] = [];
  try {
    await new Promise<void>((resolve, reject) => {
      const decoder = new FrameDecoder({
        frame(received) {
          frames.push({ ...received, data: Buffer.from(received.data) });
          if (received.streamId === LAST) resolve();
        },
        oversized: () => reject(new Error('oversized answer')),
      });
      socket.on('data', (chunk: Buffer) => decoder.push(chunk));
      socket.on('close', () => reject(new Error('server closed the connection')));
      socket.on('error', reject);
      for (const part of bytes) socket.write(part);
      socket.write(encodeFrame(once(LAST)));
    });
  } finally {
    socket.destroy();
  }
  return frames;
}

/** `STREAM CODE message` for a response, `STREAM data FLAGS "text"` for a data frame. */
function describe({ streamId, type, flags, data }: Frame): string {
  if (type === 3) return `${streamId} data ${flags} "${Text.decode(data).text}"`;
  const { status, payload } = decodeResponse(data);
  return status === undefined
    ? `${streamId} OK "${Text.decode(payload).text}"`
    : `${streamId} ${codeName(status.code)} ${status.message}`;
}

const ROWS: [name: string, sent: Frame[], answers: string[]][] = [
  ['nothing', [], []],
  ['stream id 0', [once(0)], ['0 INVALID_ARGUMENT stream id 0 is not odd']],
  ['an even stream id', [once(2)], ['2 INVALID_ARGUMENT stream id 2 is not odd']],
  [
    'a stream id used twice',
    [once(1), once(1)],
    ['1 INVALID_ARGUMENT stream id 1 is not above those before', '1 OK "a"'],
  ],
  [
    'a stream id below the last',
    [once(5), once(3)],
    ['3 INVALID_ARGUMENT stream id 3 is not above those before', '5 OK "a"'],
  ],
  [
    'frame type 0',
    [frame(1, 0, 0, EMPTY)],
    ['1 INVALID_ARGUMENT frame type 0 is not for a server'],
  ],
  ['a response', [frame(1, 2, 0, EMPTY)], ['1 INVALID_ARGUMENT frame type 2 is not for a server']],
  [
    'frame type 255',
    [frame(9, 255, 255, text('x'))],
    ['9 INVALID_ARGUMENT frame type 255 is not for a server'],
  ],
  [
    'a request that is no protobuf',
    [frame(1, 1, 0, Buffer.from('0a7f', 'hex'))],
    ['1 INVALID_ARGUMENT request on stream 1: index out of range: 2 + 127 > 2'],
  ],
  ['an empty request', [frame(1, 1, 0, EMPTY)], ['1 UNIMPLEMENTED service  is not served']],
  [
    'an unknown service',
    [frame(1, 1, 0, request('Once', EMPTY, '__proto__'))],
    ['1 UNIMPLEMENTED service __proto__ is not served'],
  ],
  [
    'an unknown method',
    [frame(1, 1, 0, request('constructor'))],
    ['1 UNIMPLEMENTED method test.Echo/constructor is not served'],
  ],
  [
    'a payload that is not the message',
    [frame(1, 1, 0, request('Once', Buffer.from([0x0a, 0x7f])))],
    ['1 INVALID_ARGUMENT test.Echo/Once: test.Text: index out of range: 2 + 127 > 2'],
  ],
  [
    'data on a stream that was never opened',
    [frame(7, 3, 0, text('x'))],
    ['7 INVALID_ARGUMENT data on stream 7, which was never opened'],
  ],
  [
    'data on a unary call',
    [once(1), frame(1, 3, 0, text('x'))],
    ['1 INVALID_ARGUMENT data on stream 1 after its end'],
  ],
  [
    'data after the end of the stream',
    [frame(1, 1, 2, request('Join')), frame(1, 3, 5, EMPTY), frame(1, 3, 0, text('x'))],
    ['1 INVALID_ARGUMENT data on stream 1 after its end'],
  ],
  [
    'an end of stream that carries data',
    [frame(1, 1, 2, request('Join')), frame(1, 3, 1, text('x'))],
    ['1 INVALID_ARGUMENT the frame that ends stream 1 carries data'],
  ],
  [
    'a message in a stream that is none',
    [frame(1, 1, 2, request('Join')), frame(1, 3, 0, Buffer.from([0x0a, 0x7f]))],
    ['1 INVALID_ARGUMENT test.Echo/Join: test.Text: index out of range: 2 + 127 > 2'],
  ],
  [
    'a client stream with a payload in its request',
    [
      frame(1, 1, 2, request('Join', text('a'))),
      frame(1, 3, 0, text('b')),
      frame(1, 3, 4, EMPTY),
      frame(1, 3, 5, EMPTY),
    ],
    ['1 OK "ab"'],
  ],
  [
    'a server stream',
    [frame(1, 1, 1, request('Split', text('ab')))],
    ['1 data 0 "a"', '1 data 0 "b"', '1 data 5 ""'],
  ],
  [
    'a request of 1 byte over the limit',
    [frame(1, 1, 0, Buffer.alloc(MAX_DATA_LENGTH + 1)), once(3)],
    [
      '1 RESOURCE_EXHAUSTED message of 4194305 bytes exceeds the limit of 4194304 bytes',
      '3 OK "a"',
    ],
  ],
  [
    'an oversized message in a stream',
    [frame(1, 1, 2, request('Join')), frame(1, 3, 0, Buffer.alloc(MAX_DATA_LENGTH + 1))],
    ['1 RESOURCE_EXHAUSTED message of 4194305 bytes exceeds the limit of 4194304 bytes'],
  ],
  [
    'an oversized frame for stream 0',
    [frame(0, 1, 0, Buffer.alloc(MAX_DATA_LENGTH + 1))],
    ['0 INVALID_ARGUMENT stream id 0 is not odd'],
  ],
];

for (const [name, sent, answers] of ROWS) {
  test(`garbage: ${name} is answered with ${answers.join(', ') || 'nothing'}`, async () => {
    await using at = await startServer();
    const frames = await exchange(at.path, sent.map(encodeFrame));
    assert.deepEqual(frames.map(describe).sort(), [...answers, `${LAST} OK "a"`].sort());
  });
}

test('garbage: a request of exactly the limit is served', async () => {
  await using at = await startServer();
  using client = await TtrpcClient.connect(at.path);
  const overhead = request('Once', text('x'.repeat(4_000_000))).length - 4_000_000;
  const longest = 'x'.repeat(MAX_DATA_LENGTH - overhead);
  const echo = client.service(Echo);
  assert.equal((await echo.once({ text: longest })).text, longest);
  await assert.rejects(echo.once({ text: `${longest}y` }), {
    code: Code.RESOURCE_EXHAUSTED,
    message: 'message of 4194305 bytes exceeds the limit of 4194304 bytes',
  });
});

test('garbage: an answer over the limit becomes RESOURCE_EXHAUSTED, on either side', async () => {
  const socket = temporarySocket();
  const server = new TtrpcServer().add(Echo, {
    once: async ({ text: length }) => ({ text: 'x'.repeat(Number(length)) }),
    async *split({ text: length }) {
      yield { text: 'first' };
      yield { text: 'x'.repeat(Number(length)) };
    },
  });
  await server.listen(socket.path);
  using client = await TtrpcClient.connect(socket.path, { maxMessageBytes: 2000 });
  const echo = client.service(Echo);
  for (const [length, message] of [
    // The server refuses what the protocol forbids to send, the client what it was told to refuse.
    ['5000000', /^message of 50000\d\d bytes exceeds the limit of 4194304 bytes$/],
    ['3000', /^message of 30\d\d bytes exceeds the limit of 2000 bytes$/],
  ] as const) {
    const expected = { code: Code.RESOURCE_EXHAUSTED, message };
    await assert.rejects(echo.once({ text: length }), expected);
    const split = echo.split({ text: length });
    assert.deepEqual(await split.next(), { done: false, value: { text: 'first' } });
    await assert.rejects(split.next(), expected);
  }
  assert.deepEqual(await echo.once({ text: '3' }), { text: 'xxx' });
  await server.shutdown(0);
  socket[Symbol.dispose]();
});

const BAD_ANSWERS: [name: string, answer: Frame, code: number, message: string][] = [
  [
    'a stream never opened',
    frame(99, 2, 0, EMPTY),
    Code.INTERNAL,
    'server answered on stream 99, which was never opened',
  ],
  [
    'a request',
    frame(1, 1, 0, EMPTY),
    Code.INTERNAL,
    'frame on stream 1: type 1 is not for a client',
  ],
  [
    'data where one response was due',
    frame(1, 3, 0, text('x')),
    Code.INTERNAL,
    'frame on stream 1: data where one response was due',
  ],
  [
    'a response that is no protobuf',
    frame(1, 2, 0, Buffer.from('0a7f', 'hex')),
    Code.INTERNAL,
    'response on stream 1: embedded message is longer than its frame',
  ],
  [
    'a payload that is not the message',
    frame(1, 2, 0, Buffer.from('12020a7f', 'hex')),
    Code.INTERNAL,
    'test.Echo/Once: test.Text: index out of range: 2 + 127 > 2',
  ],
];

for (const [name, answer, code, message] of BAD_ANSWERS) {
  test(`garbage: ${name} from a server fails the call with ${codeName(code)}`, async () => {
    using socket = temporarySocket();
    const server = createServer((peer) => {
      peer.once('data', () => peer.write(encodeFrame(answer)));
    }).listen(socket.path);
    using client = await TtrpcClient.connect(socket.path);
    await assert.rejects(client.service(Echo).once({ text: '' }), { code, message });
    server.close();
  });
}

test('garbage: more calls than allowed are refused one by one', async () => {
  const release = Promise.withResolvers<void>();
  const socket = temporarySocket();
  const server = new TtrpcServer({ maxStreams: 2 }).add(Echo, {
    async once({ text: value }) {
      await release.promise;
      return { text: value };
    },
  });
  await server.listen(socket.path);
  using client = await TtrpcClient.connect(socket.path);
  const echo = client.service(Echo);
  const running = [echo.once({ text: '1' }), echo.once({ text: '2' })];
  await assert.rejects(echo.once({ text: '3' }), {
    code: Code.RESOURCE_EXHAUSTED,
    message: 'more than 2 calls at once on one connection',
  });
  release.resolve();
  assert.deepEqual(await Promise.all(running), [{ text: '1' }, { text: '2' }]);
  assert.deepEqual(await echo.once({ text: '4' }), { text: '4' });
  await server.shutdown(0);
  socket[Symbol.dispose]();
});

test('garbage: bytes that end within a frame close that connection alone', async () => {
  await using at = await startServer();
  const socket = connect(at.path);
  socket.on('error', () => {}); // the server may reset it
  socket.end(Buffer.from('000000', 'hex'));
  await new Promise((resolve) => socket.once('close', resolve));
  using client = await TtrpcClient.connect(at.path);
  assert.deepEqual(await client.service(Echo).once({ text: 'a' }), { text: 'a' });
});

test('garbage: random bytes never stop the server or make it grow', async () => {
  const seed = Number(process.env['TTRPC_SEED'] ?? Date.now() % 1_000_000);
  console.log(`# seed ${seed} (TTRPC_SEED repeats it)`);
  let state = seed >>> 0;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  await using at = await startServer();
  for (let round = 0; round < 100; round += 1) {
    const parts = Array.from({ length: 1 + random(10) }, () => {
      const data = Buffer.from(Array.from({ length: random(60) }, () => random(256)));
      if (random(4) === 0) return data;
      return encodeFrame(
        frame(random(8), random(5), random(8), random(2) ? data : request('Join')),
      );
    });
    await flood(connect(at.path), parts);
  }
  using client = await TtrpcClient.connect(at.path);
  assert.deepEqual(await client.service(Echo).once({ text: 'a' }), { text: 'a' });
  assert.equal(at.server.connectionCount, 1);
});

/** Writes all parts, reads whatever comes, and closes. */
async function flood(socket: Socket, parts: Buffer[]): Promise<void> {
  socket.on('error', () => {}); // a reset is one of the answers allowed
  socket.resume();
  for (const part of parts) socket.write(part);
  socket.end();
  await new Promise((resolve) => socket.once('close', resolve));
}
