import assert from 'node:assert/strict';
import type { IncomingHttpHeaders, RequestListener } from 'node:http';
import { type TestContext, test } from 'node:test';
import { serveHost } from './host.fixture.ts';
import type { CredentialSource } from './registry-auth.ts';
import type { RegistryHost } from './registry-host.ts';
import { RegistrySession } from './registry-session.ts';

const serve = async (t: TestContext, listener: RequestListener): Promise<string> =>
  `http://${await serveHost(t, listener)}`;

function session(
  t: TestContext,
  origin: string,
  headers: { host?: [string, string][]; request?: [string, string][] } = {},
  credentials: CredentialSource = async () => undefined,
): RegistrySession {
  const host: RegistryHost = {
    baseUrl: `${origin}/v2`,
    capabilities: new Set(['pull', 'resolve', 'push']),
    headers: new Map(headers.host),
    tls: { isUnverified: false, ca: [], client: undefined },
  };
  const scope = 'repository:some/image:pull,push';
  const opened = new RegistrySession(host, {
    scope,
    headers: new Map(headers.request),
    credentials,
  });
  t.after(() => opened.close());
  return opened;
}

const secrets: { host: [string, string][]; request: [string, string][] } = {
  host: [
    ['x-api-key', 'secret'],
    ['authorization', 'Basic secret'],
  ],
  request: [['cookie', 'secret']],
};
const asked = new Map([
  ['accept', 'application/json'],
  ['range', 'bytes=1-'],
]);

for (const [how, pathOf] of [
  ['a redirect', () => '/redirect'],
  ['a place to upload to', (foreign: string) => `${foreign}/place`],
] as const) {
  test(`RegistrySession: ${how} on another origin gets no header that may be a secret`, async (t) => {
    let seen: IncomingHttpHeaders = {};
    const foreign = await serve(t, (request, response) => {
      seen = request.headers;
      response.end();
    });
    const home = await serve(t, (_request, response) => {
      response.writeHead(307, { location: `${foreign}/place` }).end();
    });
    const path = pathOf(foreign);
    const opened = session(t, home, secrets);
    const response = await opened.send({ method: 'GET', path, headers: asked });
    response.discard();
    assert.equal(response.status, 200);
    const { host: _host, connection: _connection, ...sent } = seen;
    assert.deepEqual(sent, {
      accept: 'application/json',
      range: 'bytes=1-',
      'user-agent': 'tscontainerd',
    });
  });
}

test('RegistrySession: an expired token is renewed before a body that is sent once', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  let tokens = 0;
  const puts: (string | undefined)[] = [];
  const home = await serve(t, (request, response) => {
    if (request.url?.startsWith('/token')) {
      response.end(JSON.stringify({ token: `t${++tokens}`, expires_in: 60 }));
      return;
    }
    if (request.method === 'PUT') puts.push(request.headers.authorization);
    request.resume().on('end', () => {
      if (request.headers.authorization === `Bearer t${tokens}`) response.writeHead(201).end();
      else {
        const challenge = `Bearer realm="${home}/token",service="s",scope="a"`;
        response.writeHead(401, { 'www-authenticate': challenge }).end();
      }
    });
  });
  const opened = session(t, home);
  async function* body(): AsyncGenerator<Buffer> {
    yield Buffer.from('content');
  }
  const send = async (method: string): Promise<number> => {
    const content = method === 'PUT' ? body() : '';
    const headers = new Map([['content-length', method === 'PUT' ? '7' : '0']]);
    const response = await opened.send({ method, path: '/upload', headers, body: content });
    response.discard();
    return response.status;
  };
  assert.equal(await send('POST'), 201);
  assert.equal(await send('PUT'), 201);
  t.mock.timers.tick(61_000);
  assert.equal(await send('PUT'), 201);
  assert.deepEqual(puts, ['Bearer t1', 'Bearer t2']);
});

test('RegistrySession: requests that are challenged at once all get the one password', async (t) => {
  let asked = 0;
  const waiting: (() => void)[] = [];
  const home = await serve(t, (request, response) => {
    if (request.headers.authorization !== undefined) {
      response.end();
      return;
    }
    // All are challenged before the first has its password; the last hears of it after that.
    waiting.push(() => response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end());
    if (waiting.length < 3) return;
    const [first, second, last] = waiting.splice(0);
    first?.();
    second?.();
    setTimeout(() => last?.(), 50);
  });
  const opened = session(t, home, {}, async () => {
    asked++;
    return { kind: 'password', username: 'u', secret: 'p' };
  });
  const statuses = await Promise.all(
    [1, 2, 3].map(async () => {
      const response = await opened.send({ method: 'GET', path: '/x', headers: new Map() });
      response.discard();
      return response.status;
    }),
  );
  assert.deepEqual(statuses, [200, 200, 200]);
  assert.equal(asked, 1);
});

test('RegistrySession: a registry that repeats what it was sent does not bring it into an error', async (t) => {
  const home = await serve(t, ({ headers }, response) => {
    const isKnown = headers.authorization !== undefined;
    const message = `you said ${headers.authorization}, that is me:hidden, with ${headers['x-api-key']}`;
    response
      .writeHead(isKnown ? 503 : 401, { 'www-authenticate': 'Basic realm="x"' })
      .end(JSON.stringify({ errors: [{ message }] }));
  });
  const credentials: CredentialSource = async () => {
    return { kind: 'password', username: 'me', secret: 'hidden' };
  };
  const opened = session(t, home, { host: [['x-api-key', 'secret']] }, credentials);
  await assert.rejects(opened.send({ method: 'GET', path: '/x', headers: new Map() }), {
    message: `GET ${home}/v2/x: 503 Service Unavailable: you said …, that is …, with …`,
  });
});
