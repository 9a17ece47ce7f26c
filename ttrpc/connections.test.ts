import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { linkSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Echo, temporarySocket } from './echo.fixture.ts';
import { Code, TtrpcClient, type TtrpcError } from './index.ts';
import { aborted, handlers, isError, serve } from './serve.fixture.ts';

test('connection: a server that goes away fails every call with UNAVAILABLE', async () => {
  await using at = await serve({ once: (_request, context) => aborted(context) as never });
  const calls = [at.echo.once({ text: '' }), at.echo.once({ text: '' })];
  const rejected = calls.map((call) => assert.rejects(call, { code: Code.UNAVAILABLE }));
  at.server.close();
  await Promise.all(rejected);
  assert.equal((await at.client.closed).code, Code.UNAVAILABLE);
});

for (const [name, target, pattern] of [
  ['nothing listens', '/nonexistent/socket', /^connect to \/nonexistent\/socket: ENOENT$/],
  ['the path is too long', `/tmp/${'x'.repeat(200)}`, /^connect to \/tmp\/x+: /],
] as const) {
  test(`connect: where ${name} it rejects with UNAVAILABLE`, async () => {
    await assert.rejects(TtrpcClient.connect(target), { code: Code.UNAVAILABLE, message: pattern });
  });
}

test('connect: an aborted signal rejects with CANCELLED', async () => {
  await assert.rejects(TtrpcClient.connect('/nonexistent', { signal: AbortSignal.abort() }), {
    code: Code.CANCELLED,
  });
});

test('authorize: a refused connection is closed without an answer', async () => {
  const errors: unknown[] = [];
  await using at = await serve(handlers, {
    authorize: async () => {
      throw new Error('not you');
    },
    onError: (error) => errors.push(error),
  });
  await assert.rejects(at.echo.once({ text: '' }), { code: Code.UNAVAILABLE });
  assert.deepEqual(errors, [new Error('not you')]);
});

test('shutdown: running calls finish, new ones are refused, then the connection closes', async () => {
  const release = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  await using at = await serve({
    async once({ text }) {
      started.resolve();
      await release.promise;
      return { text };
    },
  });
  const running = at.echo.once({ text: 'first' });
  await started.promise;
  const shutdown = at.server.shutdown(10_000);
  await assert.rejects(
    at.echo.once({ text: 'second' }),
    isError(Code.UNAVAILABLE, 'server is shutting down'),
  );
  release.resolve();
  assert.deepEqual(await running, { text: 'first' });
  await shutdown;
  assert.equal((await at.client.closed).code, Code.UNAVAILABLE);
  await assert.rejects(TtrpcClient.connect(at.path), { code: Code.UNAVAILABLE });
});

test('shutdown: what does not finish in time is cut off', async () => {
  await using at = await serve({ once: (_request, context) => aborted(context) as never });
  const call = assert.rejects(at.echo.once({ text: '' }), { code: Code.UNAVAILABLE });
  await at.server.shutdown(20);
  await call;
});

test('listen: an inherited descriptor is adopted', async () => {
  using socket = temporarySocket();
  const owner = createServer().listen(socket.path);
  await new Promise((resolve) => owner.once('listening', resolve));
  // Closing the owner removes its path, and a second one keeps the socket reachable.
  const path = `${socket.path}2`;
  linkSync(socket.path, path);
  const { fd } = (owner as unknown as { _handle: { fd: number } })._handle;
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('inherited-fd.fixture.ts', import.meta.url))],
    { stdio: ['pipe', 'pipe', 'inherit', fd] },
  );
  const exited = new Promise((resolve) => child.once('exit', resolve));
  owner.close();
  await new Promise((resolve) => child.stdout?.once('data', resolve));
  const client = await TtrpcClient.connect(path);
  assert.deepEqual(await client.service(Echo).once({ text: 'x' }), { text: 'fd 3: x' });
  client.close();
  child.stdin?.end();
  assert.equal(await exited, 0);
});

test('half-closed: a peer that only ends its sending side is answered', async () => {
  const release = Promise.withResolvers<void>();
  await using at = await serve({
    async once({ text }) {
      await release.promise;
      return { text };
    },
  });
  const socket = connect({ path: at.path, allowHalfOpen: true });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // request on stream 1: service test.Echo, method Once, payload Text{text: "x"}
  const request = '0a09746573742e4563686f 12044f6e6365 1a030a0178'.replaceAll(' ', '');
  socket.end(Buffer.from(`000000160000000101 00${request}`.replaceAll(' ', ''), 'hex'));
  setTimeout(() => release.resolve(), 50);
  await new Promise((resolve) => socket.once('end', resolve));
  assert.equal(Buffer.concat(chunks).toString('hex'), '0000000500000001020012030a0178');
});

test('half-closed: a peer that is gone altogether has its handlers aborted', async () => {
  const reason = Promise.withResolvers<TtrpcError>();
  await using at = await serve({
    async once(_request, context) {
      reason.resolve(await aborted(context));
      return { text: '' };
    },
  });
  const request = '0a09746573742e4563686f12044f6e6365';
  const socket = connect(at.path);
  socket.write(Buffer.from(`00000011000000010100${request}`, 'hex'), () => socket.destroy());
  assert.equal((await reason.promise).code, Code.UNAVAILABLE);
});
