import { isDeepStrictEqual } from 'node:util';
import { filled } from './fill.ts';
import { isTable, type Schema, type TomlTable } from './schema.ts';

/**
 * Prints a table as containerd prints its configuration: values before tables, a table indented
 * below the one it is in, a blank line between values and the next header.
 */
export function printToml(value: TomlTable, schema: Schema): string {
  const lines: string[] = [];
  printTable(lines, value, schema, []);
  return `${lines.join('\n')}\n`;
}

function printTable(
  lines: string[],
  value: TomlTable,
  schema: Schema | undefined,
  path: readonly string[],
): void {
  const entries = Object.entries(value).filter(
    ([key, member]) => !isLeftOut(childOf(schema, key), member),
  );
  const indent = '  '.repeat(path.length);
  for (const [key, member] of entries.filter(([, member]) => !isBlock(member))) {
    const isFraction = childOf(schema, key)?.kind === 'number';
    lines.push(`${indent}${keyText(key)} = ${valueText(member, isFraction)}`);
  }
  for (const [key, member] of entries.filter(([, member]) => isBlock(member))) {
    const child = childOf(schema, key);
    const here = [...path, key];
    const blocks = Array.isArray(member) ? (member as TomlTable[]) : [member as TomlTable];
    for (const block of blocks) {
      // Of a map that is empty there is nothing to print; a table shows that there is one.
      if (child?.kind === 'map' && Object.keys(block).length === 0) continue;
      if (lines.length > 0 && !lines.at(-1)?.trimStart().startsWith('[')) lines.push('');
      const name = here.map(keyText).join('.');
      lines.push(
        `${'  '.repeat(path.length)}${Array.isArray(member) ? `[[${name}]]` : `[${name}]`}`,
      );
      printTable(lines, block, child?.kind === 'tables' ? child.element : child, here);
    }
  }
}

/** What says nothing: the default of what only this daemon or only others have; no tables of an array. */
function isLeftOut(schema: Schema | undefined, value: unknown): boolean {
  if (schema?.kind === 'tables') return Array.isArray(value) && value.length === 0;
  if (schema?.isForeign !== true && schema?.isOwn !== true) return false;
  return isDeepStrictEqual(filled(schema, undefined), value);
}

function childOf(schema: Schema | undefined, key: string): Schema | undefined {
  if (schema?.kind === 'map') return schema.element;
  if (schema?.kind !== 'table' || !Object.hasOwn(schema.fields, key)) return undefined;
  return schema.fields[key];
}

function isBlock(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0 && value.every(isTable);
  return isTable(value);
}

function keyText(key: string): string {
  return /^[A-Za-z0-9_-]+$/.test(key) ? key : stringText(key);
}

/** A literal string where that is possible: nothing in it is an escape. */
function stringText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: TOML allows none in literal strings
  return /['\u0000-\u001f\u007f]/.test(text) ? JSON.stringify(text) : `'${text}'`;
}

function valueText(value: unknown, isFraction: boolean): string {
  if (typeof value === 'string') return stringText(value);
  if (Array.isArray(value)) return `[${value.map((item) => valueText(item, false)).join(', ')}]`;
  if (isTable(value)) {
    const members = Object.entries(value).map(
      ([key, member]) => `${keyText(key)} = ${valueText(member, false)}`,
    );
    return `{${members.join(', ')}}`;
  }
  if (isFraction && Number.isInteger(value)) return `${value}.0`;
  return value instanceof Date ? value.toISOString() : String(value);
}
