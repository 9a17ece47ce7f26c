// What is wrong with a registry's TLS is told by one error: what, where, what to do.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { NO_TLS, type RegistryTls } from '../../internal/registry/registry-host.ts';
import { HttpClient } from '../../internal/registry/registry-http.ts';
import { type Certificate, makeCertificate, skipCertificates } from '../fixtures/certificates.ts';

const skip = skipCertificates;
const hello: RequestListener = (_request, response) => response.end('hello');

async function port(t: TestContext, server: Server & { closeAllConnections(): void }) {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

type Case = (
  t: TestContext,
  certificate: (name: string, host?: string) => Certificate,
) => Promise<{ url: string; tls: RegistryTls }>;
/** What is wrong, how it is made, and the whole error: after `GET URL: `. HOST is the server's. */
const failures: [string, Case, string, string][] = [
  [
    'a certificate of an unknown authority',
    async (t, certificate) => {
      const number = await port(t, createHttps(certificate('server'), hello));
      return { url: `https://127.0.0.1:${number}`, tls: NO_TLS };
    },
    'self-signed certificate',
    'put the certificate of its authority into certs.d/HOST/hosts.toml as "ca", or into the machine\'s trust store',
  ],
  [
    'a certificate for another name',
    async (t, certificate) => {
      const server = certificate('server', 'DNS:a.example');
      const number = await port(t, createHttps(server, hello));
      return { url: `https://127.0.0.1:${number}`, tls: { ...NO_TLS, ca: [server.cert] } };
    },
    "Hostname/IP does not match certificate's altnames: IP: 127.0.0.1 is not in the cert's list",
    'use the name that the certificate is for, or get one for 127.0.0.1',
  ],
  [
    'a server without TLS',
    async (t) => ({ url: `https://127.0.0.1:${await port(t, createHttp(hello))}`, tls: NO_TLS }),
    'TLS: wrong version number',
    'if the registry has no TLS, name it as http://HOST in certs.d/HOST/hosts.toml, or use --plain-http',
  ],
  [
    'a server that wants a client certificate',
    async (t, certificate) => {
      const server = certificate('server');
      const wants = { ...server, ca: server.cert, requestCert: true, rejectUnauthorized: true };
      const number = await port(t, createHttps(wants, hello));
      return { url: `https://127.0.0.1:${number}`, tls: { ...NO_TLS, ca: [server.cert] } };
    },
    'TLS: tlsv13 alert certificate required',
    'the registry wants a client certificate: put it into certs.d/HOST/hosts.toml as "client"',
  ],
];
for (const [what, make, text, advice] of failures) {
  test(`HttpClient: ${what}: what, where, what to do`, { skip }, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'advice-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const { url, tls } = await make(t, (name, host) => makeCertificate(dir, name, host));
    const client = new HttpClient(tls);
    t.after(() => client.close());
    await assert.rejects(client.send({ method: 'GET', url, headers: new Map() }), {
      kind: 'Unavailable',
      code: 'TS_REGISTRY_UNREACHABLE',
      message: `GET ${url}/: ${text}`,
      advice: advice.replaceAll('HOST', new URL(url).host),
    });
  });
}
