// Exec, attach and port forwarding as a kubelet serves them: over SPDY/3.1 and WebSocket, on the URLs of the CRI.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { SpdyConnection, type SpdyStream } from '../../internal/streaming/spdy-connection.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';

/** A client's SPDY connection to a URL of the CRI. */
async function spdy(
  url: string,
  protocols: string,
): Promise<{ connection: SpdyConnection; protocol: string }> {
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'SPDY/3.1',
    'X-Stream-Protocol-Version': protocols,
  };
  const call = request(url, { method: 'POST', headers });
  call.end();
  return await new Promise((resolve, reject) => {
    call.once('upgrade', (response, socket) => {
      const connection = new SpdyConnection(
        socket as Socket,
        { onStream: () => undefined },
        'client',
      );
      resolve({ connection, protocol: String(response.headers['x-stream-protocol-version']) });
    });
    call.once('response', (response) => reject(new Error(`status ${response.statusCode}`)));
    call.once('error', reject);
  });
}

const open = (connection: SpdyConnection, streamType: string): Promise<SpdyStream> =>
  connection.open(new Map([['streamtype', streamType]]));

describe('streams of the CRI', { skip: skipCri() }, () => {
  let node: CriNode;
  let pod: string;
  let id: string;
  before(async () => {
    node = await CriNode.start();
    ({ pod, id } = await node.run('while read line; do echo "got $line"; done', { stdin: true }));
  });
  after(() => node[Symbol.asyncDispose]());

  it('exec over SPDY: input, both outputs, exit code', async () => {
    const { url } = await node.runtime.exec({
      containerId: id,
      cmd: ['/bin/sh', '-c', 'cat; echo bad >&2; exit 5'],
      stdin: true,
      stdout: true,
      stderr: true,
    });
    const { connection, protocol } = await spdy(
      url,
      'v5.channel.k8s.io,v4.channel.k8s.io,channel.k8s.io',
    );
    assert.equal(protocol, 'v5.channel.k8s.io');
    const error = await open(connection, 'error');
    const stdin = await open(connection, 'stdin');
    const stdout = await open(connection, 'stdout');
    const stderr = await open(connection, 'stderr');
    const input = 'x'.repeat(200_000);
    stdin.end(input);
    const [status, out, err] = await Promise.all([text(error), text(stdout), text(stderr)]);
    assert.equal(out, input);
    assert.equal(err, 'bad\n');
    assert.deepEqual(JSON.parse(status), {
      metadata: {},
      status: 'Failure',
      message: 'command terminated with non-zero exit code 5',
      reason: 'NonZeroExitCode',
      details: { causes: [{ reason: 'ExitCode', message: '5' }] },
    });
    await assert.rejects(spdy(url, 'v4.channel.k8s.io'), /status 404/);
  });

  it('exec with a terminal, resized, over SPDY', async () => {
    const { url } = await node.runtime.exec({
      containerId: id,
      cmd: ['/bin/sh', '-c', 'read x; stty size; test -t 0 && echo terminal'],
      tty: true,
      stdin: true,
      stdout: true,
    });
    const { connection } = await spdy(url, 'v4.channel.k8s.io');
    const error = await open(connection, 'error');
    const stdin = await open(connection, 'stdin');
    const stdout = await open(connection, 'stdout');
    const resize = await open(connection, 'resize');
    resize.write('{"Width":111,"Hei');
    resize.write('ght":33}\n{"Width":100,"Height":30}');
    const output = text(stdout);
    // The size is set by calls of its own: the shell asks for it after what comes next has gone the same way.
    setTimeout(() => stdin.write('go\n'), 500);
    assert.deepEqual(JSON.parse(await text(error)), { metadata: {}, status: 'Success' });
    assert.match(await output, /30 100\r\nterminal\r\n/);
  });

  it('exec over WebSocket', async () => {
    const { url } = await node.runtime.exec({
      containerId: id,
      cmd: ['/bin/sh', '-c', 'cat; exit 2'],
      stdin: true,
      stdout: true,
    });
    const socket = new WebSocket(url.replace('http:', 'ws:'), 'v4.channel.k8s.io');
    const messages: Buffer[] = [];
    let isAnnounced = false;
    socket.on('message', (message: Buffer) => {
      if (!isAnnounced) {
        isAnnounced = true;
        assert.deepEqual([...message], [1]);
        socket.send(Buffer.from('\0hello'));
        socket.send(Buffer.from('\0 world\n'));
        return;
      }
      messages.push(message);
      if (message.includes('world')) socket.close(); // closing is how a client of v4 ends its input
    });
    await new Promise((resolve) => socket.once('close', resolve));
    const out = messages
      .filter((message) => message[0] === 1)
      .map((message) => message.subarray(1));
    assert.equal(Buffer.concat(out).toString(), 'hello world\n');
  });

  it('attach: what is typed is answered, and stands in the log as well', async () => {
    const { url } = await node.runtime.attach({
      containerId: id,
      stdin: true,
      stdout: true,
      stderr: true,
    });
    const { connection } = await spdy(url, 'v4.channel.k8s.io');
    await open(connection, 'error');
    const stdin = await open(connection, 'stdin');
    const stdout = await open(connection, 'stdout');
    await open(connection, 'stderr');
    stdin.write('one\n');
    for await (const chunk of stdout) {
      assert.equal(String(chunk), 'got one\n');
      break;
    }
    await connection.close();
  });

  it('forwards a port of the pod', async () => {
    const listener = await node.runtime.exec({
      containerId: id,
      cmd: ['/bin/sh', '-c', 'echo pong | nc -l -p 38765'],
      stdout: true,
    });
    const serving = await spdy(listener.url, 'v4.channel.k8s.io');
    await open(serving.connection, 'error');
    await open(serving.connection, 'stdout');
    const { url } = await node.runtime.portForward({ podSandboxId: pod, port: [38765] });
    const { connection, protocol } = await spdy(url, 'portforward.k8s.io');
    assert.equal(protocol, 'portforward.k8s.io');
    const forward = async (port: number, requestId: number) => {
      const headers = (type: string) =>
        new Map([
          ['streamtype', type],
          ['port', String(port)],
          ['requestid', String(requestId)],
        ]);
      const error = await connection.open(headers('error'));
      const data = await connection.open(headers('data'));
      error.end();
      data.end();
      const answer = text(data).catch(() => '');
      return { error: await text(error), data: await answer };
    };
    let requestId = 0;
    let result = await forward(38765, requestId);
    while (result.error !== '') result = await forward(38765, ++requestId); // until nc listens
    assert.equal(result.data, 'pong\n');
    const refused = await forward(38766, ++requestId);
    assert.match(
      refused.error,
      /error forwarding port 38766: connect to 127\.0\.0\.1:38766: ECONNREFUSED/,
    );
    await connection.close();
  });

  it('refuses what has no stream, and a terminal with its own error output', async () => {
    await assert.rejects(
      node.runtime.exec({ containerId: id, cmd: ['ls'] }),
      /one of stdin, stdout or stderr must be set/,
    );
    await assert.rejects(
      node.runtime.exec({ containerId: id, cmd: ['ls'], tty: true, stdout: true, stderr: true }),
      /tty and stderr cannot both be true/,
    );
  });
});
