import { TsError } from '../errors/index.ts';
import {
  KEYS_WITHOUT_EFFECT,
  KNOWN_KEYS,
  PLUGIN_KEYS,
  type TableSchema,
  type ValueKind,
} from './config-schema.ts';
import { lineOf } from './toml-lines.ts';

export type TomlTable = { readonly [key: string]: unknown };

/** A parsed configuration file with what messages about it need. */
export interface TomlFile {
  readonly path: string;
  readonly text: string;
  readonly table: TomlTable;
}

/**
 * Checks a file against the schema. A value of a wrong type is InvalidArgument with the line;
 * unknown keys and keys without effect are returned as sentences.
 */
export function checkConfig(file: TomlFile): string[] {
  return [...new Checker(file).check(file.table, [], KNOWN_KEYS, KEYS_WITHOUT_EFFECT)];
}

class Checker {
  readonly #file: TomlFile;

  constructor(file: TomlFile) {
    this.#file = file;
  }

  *check(
    table: TomlTable,
    path: readonly string[],
    known: TableSchema,
    withoutEffect: TableSchema,
  ): Generator<string, void, undefined> {
    for (const [key, value] of Object.entries(table)) {
      const here = [...path, key];
      const schema = own(known, key);
      const idle = own(withoutEffect, key);
      if (here.length === 2 && path[0] === 'plugins') continue;
      if (schema === undefined && idle === undefined) {
        yield this.#at(here, `unknown key "${here.join('.')}"`);
      } else if (schema === undefined && typeof idle === 'string') {
        this.#checkKind(value, here, idle);
        yield this.#at(here, `"${here.join('.')}" has no effect in this version`);
      } else if (typeof schema === 'string') {
        this.#checkKind(value, here, schema);
      } else {
        this.#checkKind(value, here, 'table');
        yield* this.check(
          value as TomlTable,
          here,
          schema ?? {},
          typeof idle === 'object' ? idle : {},
        );
      }
      if (here.length === 1 && key === 'plugins') yield* this.#checkPlugins(value as TomlTable);
    }
  }

  *#checkPlugins(plugins: TomlTable): Generator<string, void, undefined> {
    for (const [uri, options] of Object.entries(plugins)) {
      const here = ['plugins', uri];
      const keys = Object.hasOwn(PLUGIN_KEYS, uri) ? PLUGIN_KEYS[uri] : undefined;
      this.#checkKind(options, here, 'table');
      if (keys === undefined) {
        yield this.#at(here, `options of plugin "${uri}" have no effect in this version`);
      } else {
        yield* this.check(options as TomlTable, here, keys, {});
      }
    }
  }

  #checkKind(value: unknown, path: readonly string[], kind: ValueKind): void {
    if (isKind(value, kind)) return;
    const article =
      kind === 'integer' ? 'an integer' : kind === 'strings' ? 'an array of strings' : `a ${kind}`;
    throw new TsError(
      'InvalidArgument',
      this.#at(path, `"${path.join('.')}" must be ${article}, not ${nameOfKind(value)}`),
      { code: 'TS_CONFIG_TYPE', fields: { file: this.#file.path, key: path.join('.') } },
    );
  }

  #at(path: readonly string[], message: string): string {
    const line = lineOf(this.#file.text, path);
    return `${this.#file.path}${line === undefined ? '' : `:${line}`}: ${message}`;
  }
}

function own(schema: TableSchema, key: string): ValueKind | TableSchema | undefined {
  return Object.hasOwn(schema, key) ? schema[key] : undefined;
}

function isKind(value: unknown, kind: ValueKind): boolean {
  switch (kind) {
    case 'integer':
      return Number.isSafeInteger(value);
    case 'strings':
      return Array.isArray(value) && value.every((item) => typeof item === 'string');
    case 'table':
      return typeof value === 'object' && value !== null && !Array.isArray(value);
    default:
      return typeof value === kind;
  }
}

function nameOfKind(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a float';
  return typeof value === 'object' ? 'a table' : `a ${typeof value}`;
}
