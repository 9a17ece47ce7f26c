import { Named } from '../program/argument.ts';

/** Combines named bits of a table. */
export function combine<Table extends Readonly<Record<string, number>>>(
  table: Table,
  names: readonly (keyof Table & string)[],
): number {
  let bits = 0;
  for (const name of names) bits |= table[name] ?? 0;
  return bits >>> 0;
}

/** The bits as an argument that explains itself: `MS_NOSUID|MS_NODEV`. */
export function flags<Table extends Readonly<Record<string, number>>>(
  table: Table,
  names: readonly (keyof Table & string)[],
): Named {
  return new Named(combine(table, names), () => (names.length === 0 ? '0' : names.join('|')));
}

/** One value of a table as an argument that explains itself. */
export function named<Table extends Readonly<Record<string, number>>>(
  table: Table,
  name: keyof Table & string,
): Named {
  return new Named(table[name] ?? 0, name);
}

/** The names of the bits that are set, for explanations; bits without a name are left out. */
export function namesOf<Table extends Readonly<Record<string, number>>>(
  table: Table,
  bits: number,
): (keyof Table & string)[] {
  return Object.keys(table).filter((name) => (bits & (table[name] ?? 0)) >>> 0 === table[name]);
}
