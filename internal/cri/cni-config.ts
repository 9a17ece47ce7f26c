import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';

/** A plugin of a network's chain: its configuration object, as written. */
export interface CniPluginConfig {
  readonly type: string;
  readonly capabilities: ReadonlySet<string>;
  readonly raw: Readonly<Record<string, unknown>>;
}

/** A network configuration list (CNI specification 1.1, section 1). */
export interface CniNetworkConfig {
  readonly name: string;
  readonly cniVersion: string;
  readonly disableCheck: boolean;
  readonly plugins: readonly CniPluginConfig[];
  /** The file that it comes from. */
  readonly file: string;
}

/** What a plugin without a version speaks (specification, section 1). */
const OLDEST_VERSION = '0.1.0';

/**
 * The networks of a directory, by file name: `.conflist` files, and `.conf` and `.json` files with one plugin. At most
 * `max` of them (0: all). Throws NotFound when there is none, InvalidArgument that names the file and what is wrong in it.
 */
export function loadNetworks(directory: string, max: number): CniNetworkConfig[] {
  const files = filesOf(directory);
  if (files.length === 0) {
    throw new TsError('NotFound', `no network config found in ${directory}`, {
      code: 'TS_CNI_NO_CONFIG',
      advice: 'install a CNI plugin of the cluster: it puts its configuration there',
    });
  }
  return (max > 0 ? files.slice(0, max) : files).map((name) => {
    const file = join(directory, name);
    return parseNetwork(readFileSync(file, 'utf8'), file);
  });
}

function filesOf(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => /\.(conflist|conf|json)$/.test(name))
      .sort();
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw TsError.from(thrown, `list ${directory}`);
  }
}

/** Parses one configuration file. */
export function parseNetwork(text: string, file: string): CniNetworkConfig {
  const fail = (what: string, cause?: unknown): never => {
    throw new TsError('InvalidArgument', `CNI config ${file}: ${what}`, {
      code: 'TS_CNI_CONFIG',
      ...(cause === undefined ? {} : { cause }),
    });
  };
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    fail(`not JSON: ${(cause as Error).message}`, cause);
  }
  if (!isObject(document)) return fail('not an object');
  const { name, cniVersion = OLDEST_VERSION, disableCheck = false, plugins } = document;
  if (typeof name !== 'string' || name === '') return fail('name: missing');
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name)) return fail(`name: ${JSON.stringify(name)}`);
  if (typeof cniVersion !== 'string') return fail('cniVersion: not a string');
  const isList = file.endsWith('.conflist');
  const chain = isList ? plugins : [document];
  if (!Array.isArray(chain) || chain.length === 0) return fail('plugins: missing');
  return {
    name,
    cniVersion,
    disableCheck: disableCheck === true || disableCheck === 'true',
    plugins: chain.map((plugin: unknown, index) => {
      const place = isList ? `plugins[${index}].` : '';
      if (!isObject(plugin)) return fail(`${place.slice(0, -1)}: not an object`);
      const { type, capabilities } = plugin;
      if (typeof type !== 'string' || type === '') return fail(`${place}type: missing`);
      if (type.includes('/')) return fail(`${place}type: ${JSON.stringify(type)} is no file name`);
      const enabled = Object.entries(isObject(capabilities) ? capabilities : {})
        .filter(([, isOn]) => isOn === true)
        .map(([key]) => key);
      return { type, capabilities: new Set(enabled), raw: plugin };
    }),
    file,
  };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
