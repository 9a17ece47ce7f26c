import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { SpdyConnection, type SpdyStream } from './spdy-connection.ts';

/** Both ends of a TCP connection. */
async function pair(): Promise<[Socket, Socket]> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const client = connect(address.port, '127.0.0.1');
  const [socket] = (await once(server, 'connection')) as [Socket];
  server.close();
  return [socket, client];
}

describe('SPDY connection', { timeout: 30_000 }, () => {
  it('carries streams both ways, with their headers, each way ended by itself', async () => {
    const [left, right] = await pair();
    const seen: string[] = [];
    const server = new SpdyConnection(left, {
      onStream: (stream) => {
        seen.push(`${stream.id} ${stream.headers.get('streamtype')}`);
        stream.pipe(stream);
      },
    });
    const client = new SpdyConnection(right, { onStream: () => undefined }, 'client');
    const bytes = Buffer.alloc(300_000, 'abcdefghij');
    const answers = await Promise.all(
      ['error', 'stdin', 'stdout'].map(async (type) => {
        const stream = await client.open(new Map([['StreamType', type]]));
        stream.end(bytes);
        return await text(stream);
      }),
    );
    for (const answer of answers) assert.equal(answer, bytes.toString());
    assert.deepEqual(seen, ['1 error', '3 stdin', '5 stdout']);
    await client.close();
    await server.closed;
  });

  it('refuses a stream that its owner does not want, and goes on', async () => {
    const [left, right] = await pair();
    const streams: SpdyStream[] = [];
    const server = new SpdyConnection(left, {
      onStream: (stream) => {
        if (stream.headers.get('streamtype') === 'bad') throw new Error('not wanted');
        streams.push(stream);
      },
    });
    const client = new SpdyConnection(right, { onStream: () => undefined }, 'client');
    const bad = await client.open(new Map([['streamtype', 'bad']]));
    await once(bad, 'close');
    const good = await client.open(new Map([['streamtype', 'good']]));
    good.end('hello');
    const end = once(good, 'end');
    good.resume();
    while (streams.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [received] = streams;
    assert.ok(received !== undefined);
    // Reading it by an iterator would destroy it at its end, before the other direction's.
    const [chunk] = (await once(received, 'data')) as [Buffer];
    assert.equal(chunk.toString(), 'hello');
    received.end();
    await end;
    await client.close();
    await server.closed;
  });

  for (const [what, bytes, message] of [
    ['another version', '8002000100000000' + '00', /SPDY\/3\.1: version 2/],
    ['a frame of 16 MB', '00000001' + '00ffffff', /SPDY\/3\.1: a frame of 16777215 bytes/],
    ['an unknown frame', '8003006300000000', /SPDY\/3\.1: a frame of type 99/],
    [
      'headers that are no zlib',
      '80030001000000100000000100000000000000000000000000000000',
      /SPDY\/3\.1: headers/,
    ],
  ] as const) {
    it(`ends on ${what}`, async () => {
      const [left, right] = await pair();
      const server = new SpdyConnection(left, { onStream: () => undefined });
      right.on('error', () => undefined);
      right.write(Buffer.from(bytes, 'hex'));
      const failure = await server.closed;
      assert.match((failure as Error).message, message);
      right.destroy();
    });
  }
});
