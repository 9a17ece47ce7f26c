/**
 * Which hosts a registry's images come from: `hosts.toml` of a directory such as
 * /etc/containerd/certs.d, Docker's certificate files in the same place, or the older tables of the
 * configuration (registry-settings.ts); else the registry itself. Read anew for each pull.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';
import { readHostsToml } from './hosts-toml.ts';
import {
  ALL_CAPABILITIES,
  apiHost,
  isLoopback,
  NO_TLS,
  type RegistryHost,
} from './registry-host.ts';
import {
  hasHosts,
  hostsOfSettings,
  NO_SETTINGS,
  type RegistrySettings,
} from './registry-settings.ts';

export interface HostOptions {
  /** Directory with a directory for each host; '' for none. */
  readonly hostDir: string;
  /** `http` or `https`; '' for http to this machine itself and https to others. */
  readonly defaultScheme: string;
  /** The older tables of the configuration. */
  readonly settings?: RegistrySettings;
}

/** The hosts of a registry and where they are from. */
export interface ChosenHosts {
  /** In the order of trial. */
  readonly hosts: RegistryHost[];
  /** What says so, in words. */
  readonly source: string;
  /** Files that were looked for before, and are not there. */
  readonly missing: readonly string[];
}

/** The hosts for images of `registry` (`docker.io`, `127.0.0.1:5000`), in the order of trial. */
export async function registryHosts(
  registry: string,
  options: HostOptions,
): Promise<RegistryHost[]> {
  return (await chooseHosts(registry, options)).hosts;
}

/** {@link registryHosts}, with the reason. */
export async function chooseHosts(registry: string, options: HostOptions): Promise<ChosenHosts> {
  const { hostDir, settings = NO_SETTINGS } = options;
  const scheme = options.defaultScheme || (isLoopback(registry) ? 'http' : 'https');
  if (scheme !== 'http' && scheme !== 'https') {
    throw new TsError('InvalidArgument', `registry ${registry}: scheme ${JSON.stringify(scheme)}`);
  }
  const own: RegistryHost = {
    baseUrl: `${scheme}://${apiHost(registry)}/v2`,
    capabilities: new Set(ALL_CAPABILITIES),
    headers: settings.headers,
    tls: NO_TLS,
  };
  const missing: string[] = [];
  const found = hostDir === '' ? undefined : await findDirectory(hostDir, registry, own, missing);
  if (found !== undefined) return { ...found, missing };
  if (!hasHosts(settings)) return { hosts: [own], source: 'the name of the image alone', missing };
  const hosts = await hostsOfSettings(registry, settings, own);
  const key = [registry, '*'].find((name) => settings.mirrors.has(name));
  const source = key === undefined ? 'registry.configs' : `registry.mirrors.${JSON.stringify(key)}`;
  return { hosts, source: `${source} of the configuration`, missing };
}

/** What the first directory that there is for a registry says. */
async function findDirectory(
  hostDir: string,
  registry: string,
  own: RegistryHost,
  missing: string[],
): Promise<Omit<ChosenHosts, 'missing'> | undefined> {
  const withPort = registry.replace(/:([0-9]+)$/, '_$1_'); // where ':' is no good in a name
  for (const name of new Set([withPort, registry, '_default'])) {
    const directory = join(hostDir, name);
    const path = join(directory, 'hosts.toml');
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw TsError.from(error, `read ${path}`);
      const certified = await withCertificates(directory, own);
      if (certified === undefined) {
        missing.push(path);
        continue;
      }
      return { hosts: [certified], source: `the certificates in ${directory}` };
    }
    return { hosts: await readHostsToml(text, path, own), source: path };
  }
  return undefined;
}

/**
 * The host with the certificates that Docker would use: `*.crt` are authorities, `NAME.cert` and
 * `NAME.key` the client's (docs.docker.com, "Verify repository client with certificates").
 */
async function withCertificates(
  directory: string,
  own: RegistryHost,
): Promise<RegistryHost | undefined> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw TsError.from(error, `read ${directory}`);
  }
  const read = async (name: string): Promise<string> => {
    try {
      return await readFile(join(directory, name), 'utf8');
    } catch (error) {
      throw TsError.from(error, `read ${join(directory, name)}`);
    }
  };
  const ca = await Promise.all(names.filter((name) => name.endsWith('.crt')).map(read));
  const cert = names.find((name) => name.endsWith('.cert'));
  if (ca.length === 0 && cert === undefined) return undefined;
  // Who has certificates speaks TLS, on this machine too.
  const secure = { ...own, baseUrl: own.baseUrl.replace(/^http:/, 'https:') };
  if (cert === undefined) return { ...secure, tls: { ...NO_TLS, ca } };
  const key = cert.replace(/cert$/, 'key');
  return {
    ...secure,
    tls: { ...NO_TLS, ca, client: { cert: await read(cert), key: await read(key) } },
  };
}
