/**
 * A description of what may stand in a configuration file. One description gives the check of a
 * file, the defaults, the order in which it is printed, and the type of what was read.
 */

/** What every kind of value can say besides. */
interface Common {
  /** Nothing reads it in this version: a value other than the default is told to the user. */
  readonly isIdle?: true;
  /** Why an idle key has no effect, as the end of a sentence for the user. */
  readonly why?: string;
  /** Values of an idle key, besides its default, that say what is so anyway. */
  readonly harmless?: readonly unknown[];
  /** Only other containerds have it: it is idle, and printed only when it is not the default. */
  readonly isForeign?: true;
  /** Only this daemon has it: it is printed only when it is not the default, so that containerd reads the rest. */
  readonly isOwn?: true;
}

export interface StringSchema extends Common {
  readonly kind: 'string';
  readonly default: string;
  /** The values that it may have, when not any. */
  readonly choices?: readonly string[];
}

/** A duration in Go's notation, `1m30s`. */
export interface DurationSchema extends Common {
  readonly kind: 'duration';
  readonly default: string;
}

export interface IntegerSchema extends Common {
  readonly kind: 'integer';
  readonly default: number;
}

export interface NumberSchema extends Common {
  readonly kind: 'number';
  readonly default: number;
}

export interface BooleanSchema extends Common {
  readonly kind: 'boolean';
  readonly default: boolean;
}

export interface StringsSchema extends Common {
  readonly kind: 'strings';
  readonly default: readonly string[];
}

/** A table with known keys. */
export interface TableSchema<F extends Fields = Fields> extends Common {
  readonly kind: 'table';
  readonly fields: F;
  /** There only when the file has it. */
  readonly isOptional?: true;
  /** Keys beside the known ones: kept, and told to be unknown unless `silently`. */
  readonly others?: 'unknown' | 'silently';
}

/** A table with keys that the user chooses, each with a value of one kind. */
export interface MapSchema<E extends Schema = Schema> extends Common {
  readonly kind: 'map';
  readonly element: E;
  readonly default: Readonly<Record<string, unknown>>;
}

/** An array of tables. */
export interface TablesSchema<F extends Fields = Fields> extends Common {
  readonly kind: 'tables';
  readonly element: TableSchema<F>;
}

export type Schema =
  | StringSchema
  | DurationSchema
  | IntegerSchema
  | NumberSchema
  | BooleanSchema
  | StringsSchema
  | TableSchema
  | MapSchema
  | TablesSchema;

export type Fields = { readonly [key: string]: Schema };

/** A table of any content, as the TOML parser gives it. */
export type TomlTable = { readonly [key: string]: unknown };

type OptionalKeys<F extends Fields> = {
  [K in keyof F]: F[K] extends { readonly isOptional: true } ? K : never;
}[keyof F];

/** The type of the values that a schema describes, with every default filled in. */
export type ValueOf<S> = S extends StringSchema | DurationSchema
  ? string
  : S extends IntegerSchema | NumberSchema
    ? number
    : S extends BooleanSchema
      ? boolean
      : S extends StringsSchema
        ? readonly string[]
        : S extends TableSchema<infer F>
          ? string extends keyof F
            ? TomlTable
            : { readonly [K in Exclude<keyof F, OptionalKeys<F>>]: ValueOf<F[K]> } & {
                readonly [K in OptionalKeys<F>]?: ValueOf<F[K]>;
              }
          : S extends MapSchema<infer E>
            ? Readonly<Record<string, ValueOf<E>>>
            : S extends TablesSchema<infer F>
              ? readonly ValueOf<TableSchema<F>>[]
              : never;

export const string = (value = ''): StringSchema => ({ kind: 'string', default: value });
export const choice = (choices: readonly string[], value = ''): StringSchema => ({
  kind: 'string',
  default: value,
  choices,
});
export const duration = (value = '0s'): DurationSchema => ({ kind: 'duration', default: value });
export const integer = (value = 0): IntegerSchema => ({ kind: 'integer', default: value });
export const number = (value = 0): NumberSchema => ({ kind: 'number', default: value });
export const boolean = (value = false): BooleanSchema => ({ kind: 'boolean', default: value });
export const strings = (...values: readonly string[]): StringsSchema => ({
  kind: 'strings',
  default: values,
});

export function table<F extends Fields>(fields: F): TableSchema<F> {
  return { kind: 'table', fields };
}

/** A table that may be absent. */
export function optional<F extends Fields>(
  schema: TableSchema<F>,
): TableSchema<F> & { readonly isOptional: true } {
  return { ...schema, isOptional: true };
}

/** A table with known keys and others, which are kept. */
export function open<F extends Fields>(
  schema: TableSchema<F>,
  others: 'unknown' | 'silently',
): TableSchema<F> {
  return { ...schema, others };
}

export function map<E extends Schema>(
  element: E,
  entries: Readonly<Record<string, unknown>> = {},
): MapSchema<E> {
  return { kind: 'map', element, default: entries };
}

export function tables<F extends Fields>(fields: F): TablesSchema<F> {
  return { kind: 'tables', element: table(fields) };
}

/** A table of any content. */
export const anyTable: TableSchema = { kind: 'table', fields: {}, others: 'silently' };

/** Marks a value that nothing reads in this version; `harmless` values ask for what is so anyway. */
export function idle<S extends Schema>(why: string, schema: S, ...harmless: readonly unknown[]): S {
  return harmless.length === 0
    ? { ...schema, isIdle: true, why }
    : { ...schema, isIdle: true, why, harmless };
}

/** Marks what only other containerds have. */
export function foreign<S extends Schema>(why: string, schema: S): S {
  return { ...schema, isIdle: true, isForeign: true, why };
}

/** Marks what only this daemon has. */
export function own<S extends Schema>(schema: S): S {
  return { ...schema, isOwn: true };
}

export function isTable(value: unknown): value is TomlTable {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
  );
}
