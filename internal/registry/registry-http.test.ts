import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import type { RegistryTls } from './registry-host.ts';
import { HttpClient, readText } from './registry-http.ts';

const noTls: RegistryTls = { isUnverified: false, ca: [], client: undefined };

async function serve(
  t: TestContext,
  listener: RequestListener,
  tls?: { cert: string; key: string; ca?: string },
): Promise<string> {
  const more = tls?.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: true };
  const server =
    tls === undefined ? createHttp(listener) : createHttps({ ...tls, ...more }, listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function client(t: TestContext, tls = noTls): HttpClient {
  const http = new HttpClient(tls);
  t.after(() => http.close());
  return http;
}

test('HttpClient: Authorization goes to its own origin only, redirect after redirect', async (t) => {
  const seen: [string, string | undefined][] = [];
  const listener: RequestListener = (request, response) => {
    seen.push([request.url ?? '', request.headers.authorization]);
    const next = new URL(request.url ?? '', 'http://x').searchParams.get('to');
    if (next === null) response.end('end');
    else response.writeHead(302, { location: next }).end();
  };
  const [home, foreign] = [await serve(t, listener), await serve(t, listener)];
  const back = `${home}/3`;
  const there = `${foreign}/2?to=${encodeURIComponent(back)}`;
  const response = await client(t).send({
    method: 'GET',
    url: `${home}/1?to=${encodeURIComponent(there)}`,
    headers: new Map([['authorization', 'Basic c2VjcmV0']]),
  });
  assert.equal((await readText(response, 10)).toString(), 'end');
  assert.deepEqual(
    seen.map(([url, authorization]) => [url[1], authorization]),
    [
      ['1', 'Basic c2VjcmV0'],
      ['2', undefined],
      ['3', 'Basic c2VjcmV0'],
    ],
  );
});

const redirects: [string, string, RegExp][] = [
  ['in a circle', '/', /more than 10 redirects$/],
  ['to a file', 'file:///etc/passwd', /redirect to file:$/],
  ['to no URL', 'http://[', /redirect to no URL$/],
];
for (const [what, location, message] of redirects) {
  test(`HttpClient: a redirect ${what} is refused`, async (t) => {
    const url = await serve(t, (_request, response) => response.writeHead(307, { location }).end());
    await assert.rejects(client(t).send({ method: 'GET', url, headers: new Map() }), {
      kind: 'Unavailable',
      message,
    });
  });
}

test('HttpClient: an error shows no query and no password', async (t) => {
  const url = await serve(t, (request) => request.socket.destroy());
  const withSecrets = `${url.replace('://', '://user:secret@')}/path?signature=secret`;
  await assert.rejects(client(t).send({ method: 'GET', url: withSecrets, headers: new Map() }), {
    message: `GET ${url}/path: the connection was cut`,
  });
});

test('HttpClient: a caller that goes away ends the request', async (t) => {
  const url = await serve(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('part');
  });
  const caller = new AbortController();
  const response = await client(t).send({
    method: 'GET',
    url,
    headers: new Map(),
    signal: caller.signal,
  });
  await assert.rejects(
    async () => {
      for await (const _ of response.body) caller.abort();
    },
    (error: Error) => error.name === 'TsError',
  );
});

/** A certificate for 127.0.0.1 that is its own authority; `path` is its file. */
function certificate(t: TestContext, name: string): { cert: string; key: string; path: string } {
  const dir = mkdtempSync(join(tmpdir(), 'tls-'));
  t.after(() => rmSync(dir, { recursive: true }));
  const [cert, key] = [join(dir, `${name}.crt`), join(dir, `${name}.key`)];
  const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1'];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      ...subject,
      '-out',
      cert,
      '-keyout',
      key,
    ],
    { stdio: 'ignore' },
  );
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8'), path: cert };
}

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
test('HttpClient: TLS with an authority of one’s own, and client certificates', {
  skip: hasOpenssl ? false : 'no openssl to make certificates',
}, async (t) => {
  const [server, user] = [certificate(t, 'server'), certificate(t, 'user')];
  const url = await serve(t, (_request, response) => response.end('hello'), {
    ...server,
    ca: user.cert,
  });
  const get = async (tls: RegistryTls): Promise<string> => {
    const response = await client(t, tls).send({ method: 'GET', url, headers: new Map() });
    return (await readText(response, 10)).toString();
  };
  const trusted = { isUnverified: false, ca: [server.cert], client: user };
  assert.equal(await get(trusted), 'hello');
  assert.equal(await get({ ...trusted, ca: [], isUnverified: true }), 'hello');
  await assert.rejects(get({ ...trusted, ca: [] }), {
    kind: 'Unavailable',
    message: /self-signed certificate/,
  });
  await assert.rejects(get({ ...trusted, client: undefined }), { kind: 'Unavailable' });
});

test('HttpClient: an authority of the machine’s own is trusted', {
  skip: hasOpenssl ? false : 'no openssl to make certificates',
}, async (t) => {
  const server = certificate(t, 'server');
  const url = await serve(t, (_request, response) => response.end('hello'), server);
  const noTlsText = JSON.stringify(noTls);
  const module = new URL('registry-http.ts', import.meta.url).href;
  const program = `
    import { HttpClient, readText } from ${JSON.stringify(module)};
    const client = new HttpClient(${noTlsText});
    const get = { method: 'GET', url: ${JSON.stringify(url)}, headers: new Map() };
    console.log(String(await readText(await client.send(get), 10)));
    client.close();
  `;
  // In a process of its own: the machine's authorities are read once.
  const env = { ...process.env, SSL_CERT_FILE: server.path };
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '--eval', program],
    { env },
  );
  assert.equal(stdout, 'hello\n');
});

test('readText: a body that is too long is not taken', async (t) => {
  const url = await serve(t, (_request, response) => response.end(Buffer.alloc(1000)));
  const response = await client(t).send({ method: 'GET', url, headers: new Map() });
  await assert.rejects(readText(response, 999), {
    kind: 'ResourceExhausted',
    message: `GET ${url}/: the answer has more than 999 bytes`,
  });
});
