import { globSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { parse, type TomlError } from 'smol-toml';
import { isErrno, TsError } from '../errors/index.ts';
import { checkConfig, type TomlFile } from './check.ts';
import { CONFIG_V3, type ConfigFile } from './daemon-schema.ts';
import { fill, mergeTables } from './fill.ts';
import { CONFIG_V2, migrate } from './migrate.ts';
import { checkOptions } from './runtime-options.ts';
import { isTable, type TomlTable } from './schema.ts';
import { TomlPositions } from './toml-positions.ts';

export interface LoadedConfig {
  /** Whatever version the files have, this is version 3, with every default filled in. */
  readonly config: ConfigFile;
  /** What the files say that has no effect, a sentence each, with file and line. */
  readonly warnings: readonly string[];
}

/**
 * Reads a configuration file of version 2 or 3 and what it imports. Without a file at `path` the
 * defaults hold, unless `isRequired`. Throws InvalidArgument with file and line for what is no TOML
 * or of a wrong type.
 */
export function loadConfig(path: string, isRequired: boolean): LoadedConfig {
  const files = readWithImports(path, isRequired);
  const warnings = files.flatMap(({ file, version, isAssumed }) => [
    ...(isAssumed ? [`${file.path}: no version: taken for version 3`] : []),
    ...checkConfig(file, version === 2 ? CONFIG_V2 : CONFIG_V3),
    ...checkOptions(file),
  ]);
  const tables = files.map(({ file, version }) =>
    version === 2 ? migrate(file.table) : file.table,
  );
  const merged = tables.reduce(mergeFiles, {});
  return { config: withDefaults(merged), warnings };
}

/**
 * Reads one file and brings it to version 3, its imports named and not read: what `config migrate`
 * prints.
 */
export function migrateConfig(path: string): LoadedConfig {
  const versioned = versionOf(readToml(path));
  const { file, version } = versioned;
  const warnings = checkConfig(file, version === 2 ? CONFIG_V2 : CONFIG_V3);
  return {
    config: withDefaults(version === 2 ? migrate(file.table) : file.table),
    warnings: [...warnings, ...checkOptions(file)],
  };
}

/** The configuration that holds without a file. */
export function defaultConfig(): ConfigFile {
  return withDefaults({});
}

const CRI_RUNTIME = 'io.containerd.cri.v1.runtime';

function withDefaults(table: TomlTable): ConfigFile {
  const config = fill(CONFIG_V3, { ...table, version: CONFIG_V3.fields.version.default });
  const given = tableAt(table, 'plugins', CRI_RUNTIME, 'containerd');
  const runtimes = Object.keys(tableAt(given, 'runtimes'));
  // Who sets containerd's runtime up, and none of ours, means it to be used as containerd would.
  const isContainerds = runtimes.includes('runc') && !runtimes.includes('tsrunc');
  if (!isContainerds || given['default_runtime_name'] !== undefined) return config;
  const runtime = config.plugins[CRI_RUNTIME];
  const containerd = { ...runtime.containerd, default_runtime_name: 'runc' };
  return { ...config, plugins: { ...config.plugins, [CRI_RUNTIME]: { ...runtime, containerd } } };
}

function tableAt(table: TomlTable, ...path: readonly string[]): TomlTable {
  return path.reduce<TomlTable>((at, key) => (isTable(at[key]) ? at[key] : {}), table);
}

interface VersionedFile {
  readonly file: TomlFile;
  readonly version: 2 | 3;
  readonly isAssumed: boolean;
}

/** The file, then its imports in order; a file that was read already is not read again. */
function readWithImports(path: string, isRequired: boolean): VersionedFile[] {
  const files = new Map<string, VersionedFile>();
  const waiting = [path];
  for (const next of waiting) {
    if (files.has(next)) continue;
    const file = next === path && !isRequired ? readIfThere(next) : readToml(next);
    if (file === undefined) continue;
    files.set(next, versionOf(file));
    const imports = file.table['imports'];
    if (!Array.isArray(imports)) continue; // of a wrong type: the check says so
    for (const pattern of imports) {
      if (typeof pattern !== 'string') continue;
      const absolute = isAbsolute(pattern) ? pattern : join(dirname(next), pattern);
      waiting.push(...(/[*?[]/.test(absolute) ? globSync(absolute).sort() : [absolute]));
    }
  }
  return [...files.values()];
}

function readIfThere(path: string): TomlFile | undefined {
  try {
    return readToml(path);
  } catch (error) {
    if (isErrno((error as Error).cause, 'ENOENT')) return undefined;
    throw error;
  }
}

function readToml(path: string): TomlFile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw TsError.from(error, `read configuration ${path}`);
  }
  try {
    return { path, positions: new TomlPositions(text), table: parse(text) };
  } catch (error) {
    const { line, message } = error as TomlError;
    const reason = message.split('\n', 1)[0]?.replace('Invalid TOML document: ', '');
    throw new TsError('InvalidArgument', `${path}:${line}: not TOML: ${reason}`, {
      code: 'TS_CONFIG_SYNTAX',
      cause: error,
    });
  }
}

function versionOf(file: TomlFile): VersionedFile {
  const { path, table, positions } = file;
  const version = table['version'];
  if (version === 2 || version === 3) return { file, version, isAssumed: false };
  if (version === undefined && table['plugins'] === undefined) {
    return { file, version: 3, isAssumed: Object.keys(table).length > 0 };
  }
  const line = positions.lineOf(['version']);
  throw new TsError(
    'InvalidArgument',
    `${path}${line === undefined ? '' : `:${line}`}: configuration version ${
      version ?? 1
    } is not supported`,
    {
      code: 'TS_CONFIG_VERSION',
      advice: 'write it as version 2 or 3: "containerd config migrate" converts older files',
    },
  );
}

/**
 * A later file on top of earlier ones, as containerd merges them: lists at the top add up, a proxy
 * plugin or stream processor is replaced as a whole, of all else single values.
 */
function mergeFiles(under: TomlTable, over: TomlTable): TomlTable {
  const lists = ['disabled_plugins', 'required_plugins', 'imports'].flatMap((key) => {
    const both = [under[key], over[key]].filter(Array.isArray).flat();
    return both.length === 0 ? [] : [[key, [...new Set(both)]] as const];
  });
  const wholes = ['proxy_plugins', 'stream_processors'].flatMap((key) => {
    const both = { ...tableAt(under, key), ...tableAt(over, key) };
    return Object.keys(both).length === 0 ? [] : [[key, both] as const];
  });
  return { ...mergeTables(under, over), ...Object.fromEntries([...lists, ...wholes]) };
}
