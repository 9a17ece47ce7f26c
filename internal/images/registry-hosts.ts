/**
 * Which hosts a registry's images come from: `hosts.toml` of a directory such as
 * /etc/containerd/certs.d (containerd docs/hosts.md), else the registry itself.
 */
import { readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { parse } from 'smol-toml';
import { isErrno, TsError } from '../errors/index.ts';

export type Capability = 'pull' | 'resolve' | 'push';

/** How one host is spoken to. */
export interface RegistryHost {
  /** `https://HOST[:PORT]/v2`, without a slash at the end. */
  readonly baseUrl: string;
  readonly capabilities: ReadonlySet<Capability>;
  readonly headers: ReadonlyMap<string, string>;
  readonly tls: RegistryTls;
}

export interface RegistryTls {
  readonly isUnverified: boolean;
  /** PEM certificates of authorities that are trusted besides the system's. */
  readonly ca: readonly string[];
  /** PEM certificate and key of the client. */
  readonly client: { readonly cert: string; readonly key: string } | undefined;
}

const ALL: readonly Capability[] = ['pull', 'resolve', 'push'];
const NO_TLS: RegistryTls = { isUnverified: false, ca: [], client: undefined };

export interface HostOptions {
  /** Directory with a directory for each host; '' for none. */
  readonly hostDir: string;
  /** `http` or `https`; '' for http to this machine itself and https to others. */
  readonly defaultScheme: string;
}

/** The hosts for images of `registry` (`docker.io`, `127.0.0.1:5000`), in the order of trial. */
export async function registryHosts(
  registry: string,
  options: HostOptions,
): Promise<RegistryHost[]> {
  const scheme = options.defaultScheme || (isLoopback(registry) ? 'http' : 'https');
  if (scheme !== 'http' && scheme !== 'https') {
    throw new TsError('InvalidArgument', `registry ${registry}: scheme ${JSON.stringify(scheme)}`);
  }
  const own: RegistryHost = {
    baseUrl: `${scheme}://${registry === 'docker.io' ? 'registry-1.docker.io' : registry}/v2`,
    capabilities: new Set(ALL),
    headers: new Map(),
    tls: NO_TLS,
  };
  const file = options.hostDir === '' ? undefined : await findFile(options.hostDir, registry);
  return file === undefined ? [own] : await readHosts(file.text, file.path, own);
}

/** Whether a registry is this machine, where plain HTTP gives nothing away. */
export function isLoopback(registry: string): boolean {
  const [, host = '', port] = /^(.*?)(?::([0-9]+))?$/.exec(registry) ?? [];
  if (port === '443') return false;
  return host === 'localhost' || host === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(host);
}

async function findFile(
  hostDir: string,
  registry: string,
): Promise<{ path: string; text: string } | undefined> {
  const withPort = registry.replace(/:([0-9]+)$/, '_$1_'); // where ':' is no good in a name
  for (const name of new Set([withPort, registry, '_default'])) {
    const path = join(hostDir, name, 'hosts.toml');
    try {
      return { path, text: await readFile(path, 'utf8') };
    } catch (error) {
      if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw TsError.from(error, `read ${path}`);
    }
  }
  return undefined;
}

type Table = Readonly<Record<string, unknown>>;

async function readHosts(text: string, path: string, own: RegistryHost): Promise<RegistryHost[]> {
  let root: Table;
  try {
    root = parse(text);
  } catch (error) {
    throw new TsError('InvalidArgument', `${path}: ${(error as Error).message}`, { cause: error });
  }
  const file = new HostsFile(path, text);
  const { server, host: mirrors = {}, ...rest } = root;
  if (!isTable(mirrors)) throw file.invalid('host', 'is not a table');
  const hosts: RegistryHost[] = [];
  for (const [url, table] of Object.entries(mirrors)) {
    if (!isTable(table)) throw file.invalid(url, 'is not a table');
    hosts.push(await file.host(url, table));
  }
  // The server comes last; its keys stand at the top of the file.
  const hasServer = server !== undefined || Object.keys(rest).length > 0;
  if (server !== undefined && typeof server !== 'string')
    throw file.invalid('server', 'is no text');
  const url = server ?? own.baseUrl.replace(/\/v2$/, '');
  return [...hosts, hasServer ? await file.host(url, rest) : own];
}

class HostsFile {
  readonly #path: string;
  readonly #lines: readonly string[];

  constructor(path: string, text: string) {
    this.#path = path;
    this.#lines = text.split('\n');
  }

  /** An error at a key, with the line that it is on. */
  invalid(key: string, why: string): TsError {
    const index = this.#lines.findIndex((line) => line.includes(key));
    const at = index === -1 ? '' : `:${index + 1}`;
    return new TsError('InvalidArgument', `${this.#path}${at}: ${key} ${why}`, {
      code: 'TS_HOSTS_TOML',
    });
  }

  async host(url: string, table: Table): Promise<RegistryHost> {
    const { capabilities, ca, client, skip_verify, override_path, header, ...unknown } = table;
    for (const key of Object.keys(unknown)) {
      if (key !== 'dial_timeout') throw this.invalid(key, 'is not a key of hosts.toml');
    }
    if (skip_verify !== undefined && typeof skip_verify !== 'boolean') {
      throw this.invalid('skip_verify', 'is not true or false');
    }
    return {
      baseUrl: this.#baseUrl(url, override_path),
      capabilities: this.#capabilities(capabilities),
      headers: this.#headers(header),
      tls: {
        isUnverified: skip_verify === true,
        ca: await this.#files('ca', ca),
        client: await this.#client(client),
      },
    };
  }

  #baseUrl(text: string, overridePath: unknown): string {
    if (overridePath !== undefined && typeof overridePath !== 'boolean') {
      throw this.invalid('override_path', 'is not true or false');
    }
    let url: URL;
    try {
      url = new URL(text.includes('://') ? text : `https://${text}`);
    } catch {
      throw this.invalid(text, 'is not a URL');
    }
    if (url.protocol !== 'http:' && url.protocol !== 'https:') {
      throw this.invalid(text, 'is neither http nor https');
    }
    const path = url.pathname.replace(/\/+$/, '');
    const isComplete = overridePath === true || /(?:^|\/)v2$/.test(path);
    return `${url.origin}${isComplete ? path : `${path}/v2`}`;
  }

  #capabilities(value: unknown): ReadonlySet<Capability> {
    if (value === undefined) return new Set(ALL);
    if (!Array.isArray(value)) throw this.invalid('capabilities', 'is not a list');
    for (const item of value) {
      if (!ALL.includes(item as Capability)) {
        throw this.invalid(
          'capabilities',
          `has ${JSON.stringify(item)}, known are ${ALL.join(', ')}`,
        );
      }
    }
    return new Set(value as Capability[]);
  }

  #headers(value: unknown): ReadonlyMap<string, string> {
    const headers = new Map<string, string>();
    if (value === undefined) return headers;
    if (!isTable(value)) throw this.invalid('header', 'is not a table');
    for (const [name, text] of Object.entries(value)) {
      const values = Array.isArray(text) ? text : [text];
      if (!values.every((item) => typeof item === 'string')) throw this.invalid(name, 'is no text');
      headers.set(name.toLowerCase(), values.join(', '));
    }
    return headers;
  }

  async #files(key: string, value: unknown): Promise<string[]> {
    if (value === undefined) return [];
    const names = Array.isArray(value) ? value : [value];
    if (!names.every((name): name is string => typeof name === 'string')) {
      throw this.invalid(key, 'is not the path of a file');
    }
    return await Promise.all(names.map((name) => this.#read(name)));
  }

  /** `client` is a file with both, or pairs `[certificate, key]`, of which the first is taken. */
  async #client(value: unknown): Promise<RegistryTls['client']> {
    if (value === undefined) return undefined;
    const first = Array.isArray(value) && Array.isArray(value[0]) ? value[0] : value;
    const [cert = '', key = cert] = await this.#files('client', first);
    return { cert, key };
  }

  async #read(name: string): Promise<string> {
    const path = isAbsolute(name) ? name : join(this.#path, '..', name);
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      throw TsError.from(error, `read ${path}`).within(this.#path);
    }
  }
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
