import type { AuthConfig } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import { type Credentials, parseReference } from '../services/image-details.ts';

/**
 * Credentials for a pull from the kubelet's request; undefined for a host that they are not for. What they are
 * never becomes part of an error or a log.
 */
export function registryCredentials(
  auth: AuthConfig | undefined,
  reference: string,
): (host: string) => Promise<Credentials | undefined> {
  const credentials = auth === undefined ? undefined : credentialsOf(auth);
  const owner = parseReference(reference).host;
  const server = auth?.serverAddress === undefined ? '' : hostOf(auth.serverAddress);
  return async (host) => {
    if (credentials === undefined) return undefined;
    const isMeant = server === '' ? isSameHost(host, owner) : isSameHost(host, server);
    return isMeant ? credentials : undefined;
  };
}

function credentialsOf(auth: AuthConfig): Credentials | undefined {
  const { username, password, identityToken, registryToken } = auth;
  if (username !== '') return { kind: 'password', username, secret: password };
  if (identityToken !== '') return { kind: 'refresh-token', token: identityToken };
  if (auth.auth !== '') {
    const text = Buffer.from(auth.auth, 'base64').toString('utf8');
    const colon = text.indexOf(':');
    if (colon < 0) throw new TsError('InvalidArgument', 'auth.auth: not base64 of USER:PASSWORD');
    const secret = text.slice(colon + 1).replace(/\0+$/, '');
    return { kind: 'password', username: text.slice(0, colon), secret };
  }
  if (registryToken !== '') return { kind: 'header', value: `Bearer ${registryToken}` };
  return undefined;
}

function hostOf(address: string): string {
  return address.replace(/^https?:\/\//, '').split('/')[0] ?? '';
}

const DOCKER = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

function isSameHost(a: string, b: string): boolean {
  return a === b || (DOCKER.has(a) && DOCKER.has(b));
}
