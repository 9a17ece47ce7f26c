// Every version of the protocols by which commands are streamed, over SPDY and WebSocket; TLS with a certificate that the
// daemon makes itself, to crictl; and connections that nobody uses.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import WebSocket from 'ws';
import { selfSignedCertificate } from '../../internal/streaming/self-signed-certificate.ts';
import { SpdyConnection } from '../../internal/streaming/spdy-connection.ts';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { peer } from '../peers/index.ts';

const FAILURE = {
  metadata: {},
  status: 'Failure',
  message: 'command terminated with non-zero exit code 3',
  reason: 'NonZeroExitCode',
  details: { causes: [{ reason: 'ExitCode', message: '3' }] },
};
/** What stands in the error stream, by version. */
const isText = (version: number): boolean => version < 4;
const SCRIPT = 'cat; echo bad >&2; exit 3';

describe('streams over TLS, by version', { skip: skipCri(), timeout: 240_000 }, () => {
  let node: CriNode;
  let id: string;
  let ca: string;
  before(async () => {
    node = await CriNode.start({ cri: 'enable_tls_streaming = true' });
    ({ id } = await node.run('echo begins; sleep 1000'));
    const { url } = await node.runtime.exec({ containerId: id, cmd: ['true'], stdout: true });
    const { hostname: host, port } = new URL(url);
    const socket = tlsConnect({ host, port: Number(port), rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    const certificate = socket.getPeerX509Certificate();
    socket.destroy();
    ca = certificate?.toString() ?? '';
  });
  after(() => node?.[Symbol.asyncDispose]());

  const exec = async (): Promise<string> => {
    const { url } = await node.runtime.exec({
      ...{ containerId: id, cmd: ['/bin/sh', '-c', SCRIPT] },
      ...{ stdin: true, stdout: true, stderr: true },
    });
    assert.match(url, /^https:\/\/127\.0\.0\.1:\d+\/exec\/[\w-]{8}$/);
    return url;
  };

  const upgrade = async (url: string, protocol: string): Promise<Duplex> => {
    const headers = {
      Connection: 'Upgrade',
      Upgrade: 'SPDY/3.1',
      'X-Stream-Protocol-Version': protocol,
    };
    const call = request(url, { method: 'POST', headers, ca });
    call.end();
    return await new Promise((resolve, reject) => {
      call.once('upgrade', (response, socket) => {
        assert.equal(response.headers['x-stream-protocol-version'], protocol);
        resolve(socket);
      });
      call.once('response', (response) => {
        text(response).then(
          (body) => reject(new Error(`${response.statusCode} ${body.trim()}`)),
          reject,
        );
      });
      call.once('error', reject);
    });
  };

  for (const protocol of ['channel', 'v2.channel', 'v3.channel', 'v4.channel', 'v5.channel']) {
    const version = Number(/\d/.exec(protocol)?.[0] ?? 1);
    it(`SPDY, ${protocol}.k8s.io: input ends by itself, and the exit code is told`, async () => {
      const connection = new SpdyConnection(
        await upgrade(await exec(), `${protocol}.k8s.io`),
        {
          onStream: () => undefined,
        },
        'client',
      );
      const open = (type: string) => connection.open(new Map([['streamtype', type]]));
      const error = await open('error');
      const stdin = await open('stdin');
      const stdout = await open('stdout');
      const stderr = await open('stderr');
      stdin.end('hello');
      const [status, out, err] = await Promise.all([text(error), text(stdout), text(stderr)]);
      assert.equal(out, 'hello');
      assert.equal(err, 'bad\n');
      if (isText(version)) assert.equal(status, FAILURE.message);
      else assert.deepEqual(JSON.parse(status), FAILURE);
    });
  }

  it('SPDY: another version is refused, and which there are is told', async () => {
    await assert.rejects(upgrade(await exec(), 'v9.channel.k8s.io'), {
      message: '403 unable to upgrade: none of v9.channel.k8s.io is served',
    });
  });

  /** Runs the command over a WebSocket; returns what came on each channel. */
  const overWebSocket = async (
    protocol: string,
    onOpen: (socket: WebSocket) => void,
    onOutput: (socket: WebSocket) => void = () => undefined,
  ): Promise<string[]> => {
    const isBase64 = protocol.includes('base64');
    const socket = new WebSocket((await exec()).replace('https:', 'wss:'), protocol, { ca });
    const channels = ['', '', '', '', ''];
    socket.on('message', (message: Buffer) => {
      const number = isBase64 ? Number(String(message.subarray(0, 1))) : message.readUInt8(0);
      const rest = message.subarray(1);
      channels[number] += isBase64 ? String(Buffer.from(String(rest), 'base64')) : String(rest);
      if (number === 1 && rest.length > 0) onOutput(socket);
    });
    await once(socket, 'open');
    assert.equal(socket.protocol, protocol);
    onOpen(socket);
    await once(socket, 'close');
    return channels;
  };

  it('WebSocket, v5: the end of the input alone is told, and everything after it is seen', async () => {
    const [stdin, stdout, stderr, error = ''] = await overWebSocket(
      'v5.channel.k8s.io',
      (socket) => {
        socket.send(Buffer.from('\0hello'));
        socket.send(Buffer.from([255, 77])); // of no channel
        socket.send(Buffer.from([255, 0]));
        socket.send(Buffer.from('\0too late')); // after the end
      },
    );
    assert.deepEqual([stdin, stdout, stderr], ['', 'hello', 'bad\n']);
    assert.deepEqual(JSON.parse(error), FAILURE);
  });

  for (const protocol of ['v4.channel', 'v4.base64.channel', 'channel', 'base64.channel']) {
    it(`WebSocket, ${protocol}.k8s.io: output comes while the input is open`, async () => {
      const isBase64 = protocol.includes('base64');
      const [, stdout] = await overWebSocket(
        `${protocol}.k8s.io`,
        // A close signal is of version 5: before it, it is a channel that there is not.
        (socket) => {
          if (!isBase64) socket.send(Buffer.from([255, 0]));
          socket.send(
            isBase64 ? `0${Buffer.from('hello').toString('base64')}` : Buffer.from('\0hello'),
          );
        },
        (socket) => socket.close(),
      );
      assert.equal(stdout, 'hello');
    });
  }

  it('WebSocket: another protocol is refused', async () => {
    const socket = new WebSocket((await exec()).replace('https:', 'wss:'), 'v9.channel.k8s.io', {
      ca,
    });
    const [error] = (await once(socket, 'error')) as [Error];
    assert.equal(error.message, 'Unexpected server response: 403');
  });

  it('what does not speak TLS, or does not trust the certificate, gets nothing', async () => {
    const url = await exec();
    await assert.rejects(fetch(url), (error: Error) => {
      assert.equal((error.cause as NodeJS.ErrnoException).code, 'DEPTH_ZERO_SELF_SIGNED_CERT');
      return true;
    });
    const { hostname, port, pathname } = new URL(url);
    const plain = connect(Number(port), hostname);
    plain.end(`GET ${pathname} HTTP/1.1\r\nHost: x\r\n\r\n`);
    plain.on('error', () => undefined);
    assert.doesNotMatch(await text(plain).catch(() => ''), /200|101/);
  });

  const { skip } = peer('crictl');
  for (const transport of ['spdy', 'websocket']) {
    it(`crictl over ${transport} trusts it when it is told to`, { skip }, async () => {
      const file = (name: string, text: string): string => {
        const path = `${node.daemon.directory}/${name}.pem`;
        writeFileSync(path, text);
        return path;
      };
      // It insists on a certificate of its own, which the server does not ask for.
      const own = selfSignedCertificate(['crictl']);
      const client = ['--tls-cert', file('client', own.cert), '--tls-key', file('key', own.key)];
      const flags = ['--transport', transport, '--tls-ca', file('ca', ca), ...client];
      const result = await node.tryCrictl('exec', ...flags, id, 'sh', '-c', 'echo o; exit 4');
      assert.equal(result.stdout, 'o\n');
      assert.match(result.stderr, /command terminated with (non-zero )?exit code 4/);
      // Nor does it need to be told, since without an authority it trusts whoever answers; one told of another does not.
      const other = ['--transport', transport, '--tls-ca', file('other', own.cert), ...client];
      const stranger = await node.tryCrictl('exec', ...other, id, 'true');
      assert.notEqual(stranger.status, 0);
      assert.match(stranger.stderr, /certificate signed by unknown authority|failed to verify/);
    });
  }
});

describe('streams that nobody uses', { skip: skipCri(), timeout: 240_000 }, () => {
  let node: CriNode;
  let id: string;
  before(async () => {
    node = await CriNode.start({ cri: 'stream_idle_timeout = "3s"' });
    ({ id } = await node.run('sleep 1000'));
  });
  after(() => node?.[Symbol.asyncDispose]());

  const exec = async (script: string) =>
    (
      await node.runtime.exec({
        ...{ containerId: id, cmd: ['/bin/sh', '-c', script] },
        ...{ stdin: true, stdout: true },
      })
    ).url.replace('http:', 'ws:');

  it('are closed, pings of the client or not, and the command ends', async () => {
    const socket = new WebSocket(await exec('echo $$; exec sleep 1000'), 'v5.channel.k8s.io');
    let output = '';
    socket.on('message', (message: Buffer) => (output += String(message.subarray(1))));
    const pings = setInterval(() => socket.ping(), 100);
    await once(socket, 'close');
    clearInterval(pings);
    const pid = output.trim();
    assert.match(pid, /^\d+$/);
    for (;;) {
      const { exitCode } = await node.runtime.execSync({
        containerId: id,
        cmd: ['/bin/test', '-d', `/proc/${pid}`],
        timeout: 30n,
      });
      if (exitCode === 1) break;
    }
  });

  it('stay open as long as something is said', async () => {
    // Six seconds of output, a line each 100 ms: twice the timeout.
    const script = 'i=0; while [ $i -lt 60 ]; do echo $i; i=$((i+1)); sleep 0.1; done';
    const socket = new WebSocket(await exec(script), 'v5.channel.k8s.io');
    let output = '';
    socket.on('message', (message: Buffer) => {
      if (message.readUInt8(0) === 1) output += String(message.subarray(1));
    });
    await once(socket, 'close');
    assert.match(output, /\n59\n$/);
  });
});
