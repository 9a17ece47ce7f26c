import { globSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { parse, stringify, type TomlError } from 'smol-toml';
import { isErrno, TsError } from '../errors/index.ts';
import { type Config, type ConfigLayer, configOf } from './config.ts';
import { checkConfig, type TomlFile, type TomlTable } from './config-check.ts';

export interface LoadedConfig {
  readonly config: Config;
  /** What the files say that has no effect, a sentence each, with file and line. */
  readonly warnings: readonly string[];
}

/**
 * Reads a configuration file and what it imports, and puts `overrides` (flags) on top. Without a
 * file at `path` the defaults hold, unless `isRequired`.
 */
export function loadConfig(
  path: string,
  overrides: ConfigLayer,
  isRequired: boolean,
): LoadedConfig {
  const files = readWithImports(path, isRequired);
  const warnings = files.flatMap((file) => [...checkVersion(file), ...checkConfig(file)]);
  const merged = files.reduce<TomlTable>((table, file) => mergeTables(table, file.table), {});
  return { config: configOf(merged as ConfigLayer, overrides), warnings };
}

/** A configuration as a file that gives the same configuration. */
export function printConfig(layer: ConfigLayer): string {
  return stringify(layer);
}

/** The file, then its imports in order; a file that was read already is not read again. */
function readWithImports(path: string, isRequired: boolean): TomlFile[] {
  const files = new Map<string, TomlFile>();
  const waiting = [path];
  for (const next of waiting) {
    if (files.has(next)) continue;
    const file = readToml(next, isRequired || next !== path);
    if (file === undefined) continue;
    files.set(next, file);
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

function readToml(path: string, isRequired: boolean): TomlFile | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT') && !isRequired) return undefined;
    throw TsError.from(error, `read configuration ${path}`);
  }
  try {
    return { path, text, table: parse(text) };
  } catch (error) {
    const { line, message } = error as TomlError;
    const reason = message.split('\n', 1)[0]?.replace('Invalid TOML document: ', '');
    throw new TsError('InvalidArgument', `${path}:${line}: not TOML: ${reason}`, {
      code: 'TS_CONFIG_SYNTAX',
      cause: error,
    });
  }
}

function* checkVersion({ path, table }: TomlFile): Generator<string, void, undefined> {
  const version = table['version'];
  if (version === 2 || version === 3) return;
  if (Object.keys(table).length === 0) return;
  if (version === undefined && table['plugins'] === undefined) {
    yield `${path}: no version: taken for version 3`;
    return;
  }
  throw new TsError(
    'InvalidArgument',
    `${path}: configuration version ${version ?? 1} is not supported`,
    {
      code: 'TS_CONFIG_VERSION',
      advice: 'write it as version 2 or 3: "containerd config migrate" converts older files',
    },
  );
}

/** `over` on top of `under`: tables are merged, other values replaced. */
function mergeTables(under: TomlTable, over: TomlTable): TomlTable {
  const entries = new Map(Object.entries(under));
  for (const [key, value] of Object.entries(over)) {
    const current = entries.get(key);
    entries.set(key, isTable(current) && isTable(value) ? mergeTables(current, value) : value);
  }
  return Object.fromEntries(entries);
}

function isTable(value: unknown): value is TomlTable {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
