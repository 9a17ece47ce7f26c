/** hosts.toml: the hosts of a registry and how each is spoken to (containerd docs/hosts.md). */
import { readFile } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { parse } from 'smol-toml';
import { TsError } from '../errors/index.ts';
import { notDuration, parseDurationMs } from '../notation/go-duration.ts';
import {
  ALL_CAPABILITIES,
  type Capability,
  type RegistryHost,
  type RegistryTls,
} from './registry-host.ts';

type Table = Readonly<Record<string, unknown>>;

/** Parses a hosts.toml; `own` is the registry itself, for a file that names no server. */
export async function readHostsToml(
  text: string,
  path: string,
  own: RegistryHost,
): Promise<RegistryHost[]> {
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
    const {
      capabilities,
      ca,
      client,
      skip_verify,
      override_path,
      header,
      dial_timeout,
      ...unknown
    } = table;
    for (const key of Object.keys(unknown)) {
      throw this.invalid(key, 'is not a key of hosts.toml');
    }
    if (skip_verify !== undefined && typeof skip_verify !== 'boolean') {
      throw this.invalid('skip_verify', 'is not true or false');
    }
    return {
      baseUrl: this.#baseUrl(url, override_path),
      capabilities: this.#capabilities(capabilities),
      headers: this.#headers(header),
      dialTimeoutMs: this.#dialTimeoutMs(dial_timeout),
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
    if (value === undefined) return new Set(ALL_CAPABILITIES);
    if (!Array.isArray(value)) throw this.invalid('capabilities', 'is not a list');
    for (const item of value) {
      if (!ALL_CAPABILITIES.includes(item as Capability)) {
        throw this.invalid(
          'capabilities',
          `has ${JSON.stringify(item)}, known are ${ALL_CAPABILITIES.join(', ')}`,
        );
      }
    }
    return new Set(value as Capability[]);
  }

  /** A duration in Go's notation, `5s`, or a number of seconds. */
  #dialTimeoutMs(value: unknown): number | undefined {
    if (value === undefined) return undefined;
    const ms = typeof value === 'number' ? value * 1000 : parseDurationMs(String(value));
    if (ms === undefined || !(ms > 0)) throw this.invalid('dial_timeout', notDuration(value));
    return ms;
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
