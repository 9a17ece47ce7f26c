import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { connect, createServer } from 'node:tls';
import { objectIdentifier, time } from './der.ts';
import { selfSignedCertificate } from './self-signed-certificate.ts';

describe('certificate that a server makes for itself', () => {
  it('is for its names and addresses, for a year, and signed by its own key', () => {
    const now = new Date('2026-11-27T12:00:00Z');
    const names = [
      'node-1.example',
      'localhost',
      '127.0.0.1',
      '::1',
      'fe80::1:2',
      '::ffff:1.2.3.4',
    ];
    const { cert, key } = selfSignedCertificate(names, now);
    const read = new X509Certificate(cert);
    assert.equal(read.subject, 'O=tscontainerd\nCN=node-1.example');
    assert.equal(read.issuer, read.subject);
    assert.equal(
      read.subjectAltName,
      'DNS:node-1.example, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, ' +
        'IP Address:FE80:0:0:0:0:0:1:2, IP Address:0:0:0:0:0:FFFF:102:304',
    );
    assert.equal(read.validFrom, 'Nov 27 11:00:00 2026 GMT');
    assert.equal(read.validTo, 'Nov 27 12:00:00 2027 GMT');
    assert.equal(read.ca, true);
    assert.deepEqual(read.keyUsage, ['1.3.6.1.5.5.7.3.1']);
    assert.ok(read.verify(read.publicKey));
    assert.match(key, /^-----BEGIN PRIVATE KEY-----/);
    const { serialNumber } = new X509Certificate(selfSignedCertificate(names, now).cert);
    assert.notEqual(serialNumber, read.serialNumber);
  });

  it('is taken by a client that trusts it, for its names alone', async () => {
    const pair = selfSignedCertificate(['localhost', '127.0.0.1']);
    const server = createServer(pair, (socket) => socket.end('hello'));
    server.on('tlsClientError', () => undefined);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      const socket = connect({ port, host: '127.0.0.1', ca: pair.cert });
      assert.equal(String(await once(socket, 'data')), 'hello');
      socket.destroy();
      const other = connect({
        port,
        host: '127.0.0.1',
        ca: pair.cert,
        servername: 'other.example',
      });
      const [error] = (await once(other, 'error')) as [NodeJS.ErrnoException];
      assert.equal(error.code, 'ERR_TLS_CERT_ALTNAME_INVALID');
      const stranger = connect({ port, host: '127.0.0.1' });
      const [distrust] = (await once(stranger, 'error')) as [NodeJS.ErrnoException];
      assert.equal(distrust.code, 'DEPTH_ZERO_SELF_SIGNED_CERT');
    } finally {
      server.close();
    }
  });
});

describe('DER', () => {
  for (const [dotted, hex] of [
    ['2.5.4.3', '0603550403'],
    ['1.2.840.10045.4.3.2', '06082a8648ce3d040302'],
  ] as const) {
    it(`object identifier ${dotted}`, () => {
      assert.equal(objectIdentifier(dotted).toString('hex'), hex);
    });
  }
  for (const [iso, text] of [
    ['2049-12-31T23:59:59Z', '\x17\x0d491231235959Z'],
    ['2050-01-01T00:00:00Z', '\x18\x0f20500101000000Z'],
  ] as const) {
    it(`time ${iso}`, () => assert.equal(time(new Date(iso)).toString('latin1'), text));
  }
});
