/** The certificate that the streaming server shows (`enable_tls_streaming`, `x509_key_pair_streaming`). */
import { readFileSync } from 'node:fs';
import { hostname, networkInterfaces } from 'node:os';
import { createSecureContext } from 'node:tls';
import { TsError } from '../errors/index.ts';
import { type KeyPair, selfSignedCertificate } from './self-signed-certificate.ts';

const TABLE = 'x509_key_pair_streaming';

/** What the configuration says about TLS of the streaming server. */
export interface StreamTlsConfig {
  readonly isEnabled: boolean;
  /** Files in PEM; both or none. */
  readonly certFile: string;
  readonly keyFile: string;
}

/**
 * The pair to serve with, read or self-made; undefined for no TLS. Reading is synchronous, once at start-up. Throws
 * InvalidArgument for one file without the other, for files although TLS is off, and for files that are no pair.
 */
export function streamCertificate({
  isEnabled,
  certFile,
  keyFile,
}: StreamTlsConfig): KeyPair | undefined {
  const hasFiles = certFile !== '' || keyFile !== '';
  if (!isEnabled) {
    if (!hasFiles) return undefined;
    throw new TsError('InvalidArgument', `${TABLE} is set, but enable_tls_streaming is not`, {
      advice: 'set enable_tls_streaming = true, or leave the files out',
    });
  }
  if (!hasFiles) return selfSignedCertificate(namesOfHost());
  if (certFile === '' || keyFile === '') {
    throw new TsError(
      'InvalidArgument',
      `${TABLE}: ${certFile === '' ? 'tls_cert_file' : 'tls_key_file'} is not set`,
      { advice: 'set both files, or neither to have a certificate made' },
    );
  }
  const pair = { cert: read('tls_cert_file', certFile), key: read('tls_key_file', keyFile) };
  try {
    createSecureContext(pair);
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new TsError('InvalidArgument', `${TABLE}: ${certFile} and ${keyFile}: ${why}`);
  }
  return pair;
}

function read(key: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (thrown) {
    throw TsError.from(thrown, `${TABLE}: read ${key} ${file}`);
  }
}

/** Every name by which a client may call: an API server uses an address of the node. */
function namesOfHost(): string[] {
  const addresses = Object.values(networkInterfaces()).flatMap((entries) =>
    (entries ?? []).map(({ address }) => address.replace(/%.*$/, '')),
  );
  return [...new Set([hostname(), 'localhost', '127.0.0.1', '::1', ...addresses])];
}
