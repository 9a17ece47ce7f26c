/**
 * Credentials of Docker's config.json (docker/cli docs/reference/commandline/cli, "config.json"): what is
 * written in it, and what helper programs named in it give.
 */
import { readFile } from 'node:fs/promises';
import { isErrno, TsError } from '../errors/index.ts';
import { parseObject } from '../oci/index.ts';
import { helperCredentials } from './credential-program.ts';
import type { CredentialSource, Credentials } from './registry-auth.ts';
import { apiHost } from './registry-host.ts';
import { credentialsOfAuth } from './registry-settings.ts';

/** Docker Hub's key in config.json and its name to helpers, since the days of registry v1. */
const HUB_KEY = 'https://index.docker.io/v1/';

interface DockerConfig {
  readonly auths: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
  readonly credHelpers: ReadonlyMap<string, string>;
  readonly credsStore: string;
}

/** Credentials from the file at `path`, which is read when a registry asks; none when it is absent. */
export function dockerConfigSource(path: string): CredentialSource {
  return async (host) => {
    let bytes: Buffer;
    try {
      bytes = await readFile(path);
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
      throw TsError.from(error, `read ${path}`);
    }
    return await credentialsFor(parseDockerConfig(bytes, path), host, path);
  };
}

async function credentialsFor(
  config: DockerConfig,
  host: string,
  path: string,
): Promise<Credentials | undefined> {
  const isHub = host === apiHost('docker.io');
  const matches = (key: string): boolean => {
    const name = key.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
    return isHub ? /^(?:(?:index|registry-1)\.)?docker\.io$/.test(name) : name === host;
  };
  const helper = [...config.credHelpers].find(([key]) => matches(key))?.[1] ?? config.credsStore;
  if (helper !== '') {
    const given = await helperCredentials(helper, isHub ? HUB_KEY : host, path);
    if (given !== undefined) return given;
  }
  const found = [...config.auths].find(([key]) => matches(key));
  if (found === undefined) return undefined;
  const [key, auth] = found;
  const text = (name: string): string => {
    const value = auth[name];
    return typeof value === 'string' ? value : '';
  };
  return credentialsOfAuth(
    {
      username: text('username'),
      password: text('password'),
      auth: text('auth'),
      identityToken: text('identitytoken'),
    },
    `${path}: auths.${JSON.stringify(key)}`,
  );
}

function parseDockerConfig(bytes: Buffer, path: string): DockerConfig {
  // The parser's own message may quote what it stumbled over, which may be a password.
  let json: Record<string, unknown>;
  try {
    json = parseObject(bytes, path);
  } catch {
    throw new TsError('InvalidArgument', `${path} is not a JSON object`, {
      code: 'TS_DOCKER_CONFIG',
    });
  }
  const { auths, credHelpers, credsStore } = json;
  const table = (value: unknown, key: string): Record<string, unknown> => {
    if (value === undefined || value === null) return {};
    if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
    throw new TsError('InvalidArgument', `${path}: ${key} is not an object`, {
      code: 'TS_DOCKER_CONFIG',
    });
  };
  const helpers = Object.entries(table(credHelpers, 'credHelpers'));
  return {
    auths: new Map(
      Object.entries(table(auths, 'auths')).map(([key, value]) => [key, table(value, key)]),
    ),
    credHelpers: new Map(
      helpers.filter((pair): pair is [string, string] => typeof pair[1] === 'string'),
    ),
    credsStore: typeof credsStore === 'string' ? credsStore : '',
  };
}
