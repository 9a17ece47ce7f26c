/**
 * What the daemon's configuration says of registries: the older tables `registry.mirrors` and
 * `registry.configs` of the CRI plugin (containerd docs/cri/registry.md), as types. Whoever reads
 * the file fills them in.
 */
import { readFile } from 'node:fs/promises';
import { TsError } from '../errors/index.ts';
import type { Credentials } from './registry-auth.ts';
import {
  ALL_CAPABILITIES,
  apiHost,
  isLoopback,
  NO_TLS,
  type RegistryHost,
  type RegistryTls,
} from './registry-host.ts';

/** `registry.configs.HOST.auth`; one of the three ways is given. */
export interface AuthSetting {
  readonly username?: string;
  readonly password?: string;
  /** base64 of `USER:PASSWORD`. */
  readonly auth?: string;
  readonly identityToken?: string;
}

/** `registry.configs.HOST.tls`; the files are read at each pull, so that a new one needs no restart. */
export interface TlsSetting {
  readonly isUnverified?: boolean;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

export interface RegistrySettings {
  /** URLs that stand in for a registry, in the order of trial; `*` for all that have none. */
  readonly mirrors: ReadonlyMap<string, readonly string[]>;
  readonly configs: ReadonlyMap<string, { readonly auth?: AuthSetting; readonly tls?: TlsSetting }>;
  /** Headers of every request. */
  readonly headers: ReadonlyMap<string, string>;
}

export const NO_SETTINGS: RegistrySettings = {
  mirrors: new Map(),
  configs: new Map(),
  headers: new Map(),
};

/** Whether the settings say where images come from, which hosts.toml then must not. */
export function hasHosts({ mirrors, configs }: RegistrySettings): boolean {
  return mirrors.size > 0 || configs.values().some(({ tls }) => tls !== undefined);
}

/** The hosts for images of `registry` by the older tables; the registry itself comes last. */
export async function hostsOfSettings(
  registry: string,
  settings: RegistrySettings,
  own: RegistryHost,
): Promise<RegistryHost[]> {
  const endpoints = settings.mirrors.get(registry) ?? settings.mirrors.get('*') ?? [];
  const hosts: RegistryHost[] = [];
  for (const endpoint of endpoints) {
    const url = endpointUrl(registry, endpoint);
    const isOwn = url.host === new URL(own.baseUrl).host;
    hosts.push({
      baseUrl: `${url.origin}${url.pathname.replace(/\/+$/, '') || '/v2'}`,
      // A mirror is read; only the registry itself, named among them, takes pushes too.
      capabilities: new Set(isOwn ? ALL_CAPABILITIES : ['pull', 'resolve']),
      headers: settings.headers,
      tls: await tlsOf(url.host, settings),
    });
  }
  const isListed = hosts.some(({ baseUrl }) => new URL(baseUrl).host === new URL(own.baseUrl).host);
  if (isListed) return hosts;
  const tls = await tlsOf(registry, settings);
  return [...hosts, { ...own, headers: settings.headers, tls }];
}

/** The credentials that the configuration has for a host. */
export function credentialsOfSettings(
  host: string,
  { configs }: RegistrySettings,
): Credentials | undefined {
  const config = configs.get(host) ?? configs.get(host === apiHost('docker.io') ? 'docker.io' : '');
  const auth = config?.auth;
  return auth && credentialsOfAuth(auth, `registry.configs.${host}.auth`);
}

/** Credentials in Docker's form; `what` is named by the error, which shows none of them. */
export function credentialsOfAuth(auth: AuthSetting, what: string): Credentials | undefined {
  const { username = '', password = '', identityToken = '', auth: encoded = '' } = auth;
  if (identityToken !== '') return { kind: 'refresh-token', token: identityToken };
  if (username !== '') return { kind: 'password', username, secret: password };
  if (encoded === '') return undefined;
  const decoded = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  if (colon < 1) {
    throw new TsError('InvalidArgument', `${what}: auth is not base64 of USER:PASSWORD`, {
      code: 'TS_REGISTRY_AUTH_SETTING',
    });
  }
  // Some programs pad the decoded text with zero bytes.
  const secret = decoded.slice(colon + 1).replace(/\0+$/, '');
  return { kind: 'password', username: decoded.slice(0, colon), secret };
}

function endpointUrl(registry: string, endpoint: string): URL {
  const text = endpoint.includes('://')
    ? endpoint
    : `${isLoopback(endpoint.replace(/\/.*$/, '')) ? 'http' : 'https'}://${endpoint}`;
  const what = `registry.mirrors.${registry}: endpoint ${JSON.stringify(endpoint)}`;
  if (!URL.canParse(text)) throw invalid(`${what} is not a URL`);
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw invalid(`${what} is neither http nor https`);
  }
  if (url.hostname === 'docker.io') url.hostname = apiHost('docker.io');
  return url;
}

async function tlsOf(host: string, { configs }: RegistrySettings): Promise<RegistryTls> {
  const tls = configs.get(host)?.tls;
  if (tls === undefined) return NO_TLS;
  const { certFile = '', keyFile = '', caFile = '' } = tls;
  if ((certFile === '') !== (keyFile === '')) {
    throw invalid(`registry.configs.${host}.tls: cert_file and key_file need each other`);
  }
  return {
    isUnverified: tls.isUnverified ?? false,
    ca: caFile === '' ? [] : [await readSetting(host, caFile)],
    client:
      certFile === ''
        ? undefined
        : { cert: await readSetting(host, certFile), key: await readSetting(host, keyFile) },
  };
}

async function readSetting(host: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw TsError.from(error, `registry.configs.${host}.tls: read ${path}`);
  }
}

function invalid(text: string): TsError {
  return new TsError('InvalidArgument', text, { code: 'TS_REGISTRY_SETTING' });
}
