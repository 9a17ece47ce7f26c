import { isDeepStrictEqual } from 'node:util';
import { TsError } from '../errors/index.ts';
import { notDuration } from '../notation/go-duration.ts';
import { nearestName } from '../oci/index.ts';
import { durationMs } from './duration.ts';
import { isTable, type Schema, type TomlTable } from './schema.ts';
import type { TomlPositions } from './toml-positions.ts';

/** A parsed configuration file with what messages about it need. */
export interface TomlFile {
  readonly path: string;
  readonly positions: TomlPositions;
  readonly table: TomlTable;
}

/**
 * Checks a file against a schema. A value of a wrong type is InvalidArgument with the line; unknown
 * keys, and values that nothing reads and that are not the default, are returned as sentences.
 */
export function checkConfig(file: TomlFile, schema: Schema): string[] {
  return [...new Checker(file).check(file.table, [], schema)];
}

class Checker {
  readonly #file: TomlFile;

  constructor(file: TomlFile) {
    this.#file = file;
  }

  *check(
    value: unknown,
    path: readonly string[],
    schema: Schema,
    idle: Schema | undefined = schema.isIdle === true ? schema : undefined,
  ): Generator<string, void, undefined> {
    this.#checkKind(value, path, schema);
    switch (schema.kind) {
      case 'table':
        for (const [key, member] of Object.entries(value as TomlTable)) {
          const here = [...path, key];
          const known = Object.hasOwn(schema.fields, key) ? schema.fields[key] : undefined;
          if (known !== undefined) {
            yield* this.check(member, here, known, known.isIdle === true ? known : idle);
          } else if (schema.others !== 'silently') {
            const near = nearestName(key, Object.keys(schema.fields));
            const advice = near === undefined ? '' : `, did you mean "${near}"?`;
            yield this.#at(here, `unknown key ${nameOf(here)}${advice}`);
          }
        }
        return;
      case 'map':
        for (const [key, member] of Object.entries(value as TomlTable)) {
          const here = [...path, key];
          if (idle !== undefined && !isSame(member, schema.default[key])) {
            yield this.#noEffect(here, idle);
          }
          yield* this.check(member, here, schema.element);
        }
        return;
      case 'tables':
        for (const [index, member] of (value as TomlTable[]).entries()) {
          yield* this.check(member, [...path, String(index)], schema.element, idle);
        }
        return;
      default:
        if (
          idle !== undefined &&
          ![schema.default, ...(schema.harmless ?? [])].some((v) => isSame(value, v))
        ) {
          yield this.#noEffect(path, idle);
        }
    }
  }

  #checkKind(value: unknown, path: readonly string[], schema: Schema): void {
    if (!isKind(value, schema.kind)) {
      throw this.#refusal(path, `must be ${KINDS[schema.kind]}, not ${nameOfKind(value)}`);
    }
    if (schema.kind === 'string' && schema.choices !== undefined) {
      const { choices } = schema;
      if (value === '' || choices.includes(value as string)) return;
      const list = choices.map((choice) => `"${choice}"`).join(', ');
      throw this.#refusal(path, `must be one of ${list}, not ${JSON.stringify(value)}`);
    }
    if (schema.kind === 'duration' && !(durationMs(value as string) >= 0)) {
      throw this.#refusal(path, notDuration(value));
    }
  }

  #noEffect(path: readonly string[], { why }: Schema): string {
    const reason = why === undefined ? '' : `: ${why}`;
    return this.#at(path, `${nameOf(path)} has no effect in this version${reason}`);
  }

  #refusal(path: readonly string[], what: string): TsError {
    return new TsError('InvalidArgument', this.#at(path, `${nameOf(path)} ${what}`), {
      code: 'TS_CONFIG_VALUE',
      fields: { file: this.#file.path, key: path.join('.') },
    });
  }

  #at(path: readonly string[], message: string): string {
    const line = this.#file.positions.lineOf(path);
    return `${this.#file.path}${line === undefined ? '' : `:${line}`}: ${message}`;
  }
}

const KINDS: Readonly<Record<Schema['kind'], string>> = {
  string: 'a string',
  duration: 'a string',
  integer: 'an integer',
  number: 'a number',
  boolean: 'a boolean',
  strings: 'an array of strings',
  table: 'a table',
  map: 'a table',
  tables: 'an array of tables',
};

/** A path as it is written in a header: `plugins."io.containerd.gc.v1.scheduler".x`. */
export function nameOf(path: readonly string[]): string {
  return path.map((key) => (/^[A-Za-z0-9_-]+$/.test(key) ? key : `"${key}"`)).join('.');
}

function isKind(value: unknown, kind: Schema['kind']): boolean {
  switch (kind) {
    case 'string':
    case 'duration':
      return typeof value === 'string';
    case 'integer':
      return Number.isSafeInteger(value);
    case 'strings':
      return Array.isArray(value) && value.every((item) => typeof item === 'string');
    case 'table':
    case 'map':
      return isTable(value);
    case 'tables':
      return Array.isArray(value) && value.every(isTable);
    default:
      return typeof value === kind;
  }
}

/** The order of keys does not matter, nor that the parser's tables have no prototype. */
function isSame(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(structuredClone(a), structuredClone(b));
}

function nameOfKind(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a float';
  if (value instanceof Date) return 'a date';
  return typeof value === 'object' ? 'a table' : `a ${typeof value}`;
}
