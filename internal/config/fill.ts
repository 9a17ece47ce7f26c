import { isTable, type Schema, type TomlTable, type ValueOf } from './schema.ts';

/**
 * A checked value with every default of its schema filled in, in the schema's order. Keys of a map
 * are sorted, entries of the defaults are there unless replaced.
 */
export function fill<S extends Schema>(schema: S, value: unknown): ValueOf<S> {
  return filled(schema, value) as ValueOf<S>;
}

/** `fill` where the schema is known only when it runs. */
export function filled(schema: Schema, value: unknown): unknown {
  switch (schema.kind) {
    case 'table': {
      const given = isTable(value) ? value : {};
      const known = Object.entries(schema.fields)
        .filter(([key, field]) => !(isAbsentWhenOptional(field) && given[key] === undefined))
        .map(([key, field]) => [key, filled(field, own(given, key))] as const);
      const others = Object.entries(given).filter(([key]) => !Object.hasOwn(schema.fields, key));
      return Object.fromEntries(schema.others === undefined ? known : [...known, ...others]);
    }
    case 'map': {
      const merged = mergeTables(schema.default, isTable(value) ? value : {});
      return Object.fromEntries(
        Object.entries(merged)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([key, entry]) => [key, filled(schema.element, entry)]),
      );
    }
    case 'tables':
      return (Array.isArray(value) ? value : []).map((entry) => filled(schema.element, entry));
    default:
      return value ?? schema.default;
  }
}

function isAbsentWhenOptional(schema: Schema): boolean {
  return schema.kind === 'table' && schema.isOptional === true;
}

function own(table: TomlTable, key: string): unknown {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** `over` on top of `under`: tables are merged, other values replaced. */
export function mergeTables(under: TomlTable, over: TomlTable): TomlTable {
  const entries = new Map(Object.entries(under));
  for (const [key, value] of Object.entries(over)) {
    const current = entries.get(key);
    entries.set(key, isTable(current) && isTable(value) ? mergeTables(current, value) : value);
  }
  return Object.fromEntries(entries);
}
