import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type TlsOptions } from 'node:tls';
import type { ConfigFile } from '../config/index.ts';
import { TsError } from '../errors/index.ts';
import { parseTcpAddress } from './tcp-address.ts';

type GrpcConfig = ConfigFile['grpc'];

/**
 * Listens on the TCP address of the configuration, with TLS when there is a certificate; a
 * certificate authority makes clients show certificates of it. Whoever can connect is root here, so
 * nothing listens unless it is configured.
 */
export async function listenTcp(
  config: GrpcConfig,
  onConnection: (connection: Socket) => void,
  onError: (error: unknown) => void,
): Promise<Server> {
  const { host, port } = parseTcpAddress('grpc.tcp_address', config.tcp_address);
  const tls = tlsOptions(config);
  const server =
    tls === undefined
      ? createServer(onConnection)
      : createTlsServer(tls, onConnection).on('tlsClientError', onError);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(TsError.from(error, `listen on ${config.tcp_address}`));
    });
    server.listen(port, host, resolve);
  });
  server.on('error', onError);
  return server;
}

function tlsOptions(config: GrpcConfig): TlsOptions | undefined {
  const { tcp_tls_cert, tcp_tls_key, tcp_tls_ca } = config;
  if (tcp_tls_cert === '' && tcp_tls_key === '') {
    if (tcp_tls_ca === '') return undefined;
    throw new TsError('InvalidArgument', 'grpc.tcp_tls_ca needs a certificate of the server', {
      code: 'TS_CONFIG_VALUE',
      advice: 'set grpc.tcp_tls_cert and grpc.tcp_tls_key too',
    });
  }
  return {
    cert: read('grpc.tcp_tls_cert', tcp_tls_cert),
    key: read('grpc.tcp_tls_key', tcp_tls_key),
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.2',
    ...(tcp_tls_ca === ''
      ? {}
      : { ca: read('grpc.tcp_tls_ca', tcp_tls_ca), requestCert: true, rejectUnauthorized: true }),
  };
}

function read(key: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw TsError.from(error, `read ${key} ${path}`);
  }
}
