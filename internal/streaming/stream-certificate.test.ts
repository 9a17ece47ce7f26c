import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { selfSignedCertificate } from './self-signed-certificate.ts';
import { type StreamTlsConfig, streamCertificate } from './stream-certificate.ts';

describe('certificate of the streaming server', () => {
  const directory = mkdtempSync(join(tmpdir(), 'stream-certificate-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  const file = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const pair = selfSignedCertificate(['localhost']);
  const certFile = file('cert', pair.cert);
  const keyFile = file('key', pair.key);
  const otherKey = file('other-key', selfSignedCertificate(['localhost']).key);

  it('is none without TLS', () => {
    assert.equal(streamCertificate({ isEnabled: false, certFile: '', keyFile: '' }), undefined);
  });

  it('is that of the files', () => {
    assert.deepEqual(streamCertificate({ isEnabled: true, certFile, keyFile }), pair);
  });

  it('is self-made, for the names of the host, without files', () => {
    const made = streamCertificate({ isEnabled: true, certFile: '', keyFile: '' });
    const { subjectAltName = '' } = new X509Certificate(made?.cert ?? '');
    assert.match(subjectAltName, /DNS:localhost, IP Address:127\.0\.0\.1, /);
  });

  const refused: readonly [string, StreamTlsConfig, string][] = [
    [
      'files without TLS',
      { isEnabled: false, certFile, keyFile },
      'x509_key_pair_streaming is set, but enable_tls_streaming is not: ' +
        'set enable_tls_streaming = true, or leave the files out',
    ],
    [
      'a certificate without a key',
      { isEnabled: true, certFile, keyFile: '' },
      'x509_key_pair_streaming: tls_key_file is not set: ' +
        'set both files, or neither to have a certificate made',
    ],
    [
      'a key without a certificate',
      { isEnabled: true, certFile: '', keyFile },
      'x509_key_pair_streaming: tls_cert_file is not set: ' +
        'set both files, or neither to have a certificate made',
    ],
    [
      'a file that is not there',
      { isEnabled: true, certFile: '/nowhere/cert', keyFile },
      'x509_key_pair_streaming: read tls_cert_file /nowhere/cert: ENOENT',
    ],
    [
      "another certificate's key",
      { isEnabled: true, certFile, keyFile: otherKey },
      `x509_key_pair_streaming: ${certFile} and ${otherKey}: ` +
        'error:05800074:x509 certificate routines::key values mismatch',
    ],
  ];
  for (const [what, config, text] of refused) {
    it(`refuses ${what}`, () => assert.throws(() => streamCertificate(config), { text }));
  }
});
