/**
 * What the Go implementation (containerd/ttrpc 1.2.7) sends and answers, recorded between its own
 * client and server for the test service: ours must send and answer the same bytes.
 */
import assert from 'node:assert/strict';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { Echo, type Text, temporarySocket } from './echo.fixture.ts';
import { type Calls, TtrpcClient, TtrpcServer } from './index.ts';
import { collect, texts } from './serve.fixture.ts';

interface Transcript {
  readonly name: string;
  readonly sent: string;
  readonly answered: string;
  readonly call: (echo: Calls<typeof Echo>) => Promise<unknown>;
  readonly result: unknown;
}

const attempt = (call: Promise<unknown>): Promise<unknown> =>
  call.catch(({ code, message }) => ({ code, message }));

/** The words that arrive before the error, and the error. */
async function collectUntilError(messages: AsyncIterable<Text>): Promise<unknown[]> {
  const seen: unknown[] = [];
  try {
    for await (const { text } of messages) seen.push(text);
  } catch (thrown) {
    seen.push((thrown as Error).message);
  }
  return seen;
}

const TRANSCRIPTS: Transcript[] = [
  {
    name: 'unary, with metadata',
    sent: `0000002a 00000001 01 00 0a09746573742e4563686f 12044f6e6365 1a030a0178
           2a080a036b6579120161 2a080a036b6579120162`,
    answered: '00000009 00000001 02 00 12070a057821612c62',
    call: (echo) => {
      const metadata = [
        ['key', 'a'],
        ['key', 'b'],
      ] as const;
      return echo.once({ text: 'x' }, { metadata });
    },
    result: { text: 'x!a,b' },
  },
  {
    name: 'unary, empty request',
    sent: '00000011 00000001 01 00 0a09746573742e4563686f 12044f6e6365',
    answered: '00000005 00000001 02 00 12030a0121',
    call: (echo) => echo.once({ text: '' }),
    result: { text: '!' },
  },
  {
    name: 'unary, error',
    sent: '00000019 00000001 01 00 0a09746573742e4563686f 12044f6e6365 1a060a046661696c',
    answered: '0000000c 00000001 02 00 0a0a 0802 12066e6f20776179',
    call: (echo) => attempt(echo.once({ text: 'fail' })),
    result: { code: 2, message: 'no way' },
  },
  {
    name: 'server stream',
    sent: '00000019 00000001 01 01 0a09746573742e4563686f 120553706c6974 1a050a03612062',
    answered: `00000003 00000001 03 00 0a0161
               00000003 00000001 03 00 0a0162
               00000000 00000001 03 05`,
    call: (echo) => collect(echo.split({ text: 'a b' })),
    result: ['a', 'b'],
  },
  {
    name: 'server stream, error',
    sent: '0000001b 00000001 01 01 0a09746573742e4563686f 120553706c6974 1a070a056120626164',
    answered: `00000003 00000001 03 00 0a0161
               0000000e 00000001 02 00 0a0c 0802 1208 62616420776f7264`,
    call: (echo) => collectUntilError(echo.split({ text: 'a bad' })),
    result: ['a', 'bad word'],
  },
  {
    name: 'client stream, with an empty message',
    sent: `00000011 00000001 01 02 0a09746573742e4563686f 12044a6f696e
           00000003 00000001 03 00 0a0170
           00000000 00000001 03 00
           00000003 00000001 03 00 0a0171
           00000000 00000001 03 05`,
    answered: '00000008 00000001 02 00 12060a0470202071',
    call: (echo) => echo.join(texts('p', '', 'q')),
    result: { text: 'p  q' },
  },
  {
    name: 'bidirectional stream',
    sent: `00000011 00000001 01 02 0a09746573742e4563686f 120445616368
           00000003 00000001 03 00 0a0170
           00000000 00000001 03 00
           00000000 00000001 03 05`,
    answered: `00000003 00000001 03 00 0a0150
               00000000 00000001 03 00
               00000000 00000001 03 05`,
    call: (echo) => collect(echo.each(texts('p', ''))),
    result: ['P', ''],
  },
];

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(/\s/g, ''), 'hex');

for (const { name, sent, answered } of TRANSCRIPTS) {
  test(`Go's client, ${name}: our server answers as Go's`, async () => {
    using socket = temporarySocket();
    const server = new TtrpcServer().add(Echo, {
      async once({ text }, { metadata }) {
        if (text === 'fail') throw new Error('no way');
        return { text: `${text}!${metadata.get('key') ?? ''}` };
      },
      async *split({ text }) {
        for (const word of text.split(' ')) {
          if (word === 'bad') throw new Error('bad word');
          yield { text: word };
        }
      },
      join: async (requests) => ({ text: (await collect(requests)).join(' ') }),
      async *each(requests) {
        for await (const { text } of requests) yield { text: text.toUpperCase() };
      },
    });
    await server.listen(socket.path);
    const peer = connect(socket.path);
    peer.write(bytes(sent));
    const answer = await received(peer, bytes(answered).length);
    assert.equal(answer.toString('hex'), bytes(answered).toString('hex'));
    peer.destroy();
    await server.shutdown(0);
  });
}

for (const { name, sent, answered, call, result } of TRANSCRIPTS) {
  test(`Go's server, ${name}: our client sends as Go's and understands`, async () => {
    using socket = temporarySocket();
    const request = Promise.withResolvers<Buffer>();
    const server = createServer(async (peer) => {
      request.resolve(await received(peer, bytes(sent).length));
      peer.write(bytes(answered));
    }).listen(socket.path);
    using client = await TtrpcClient.connect(socket.path);
    assert.deepEqual(await call(client.service(Echo)), result);
    assert.equal((await request.promise).toString('hex'), bytes(sent).toString('hex'));
    server.close();
  });
}

/** Waits for so many bytes. */
async function received(
  socket: NodeJS.ReadableStream & { on(event: 'data', listener: (chunk: Buffer) => void): unknown },
  length: number,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      const all = Buffer.concat(chunks);
      if (all.length >= length) resolve(all);
    });
  });
}
