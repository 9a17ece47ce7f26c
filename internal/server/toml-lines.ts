/**
 * Line numbers for messages about a configuration that parsed well: the TOML parser keeps none.
 */

const HEADER = /^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$/;
const ASSIGNMENT =
  /^\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*=/;
const KEY = /"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)/g;

/**
 * The line, counted from 1, that sets `path` or opens its table; else that of the nearest table
 * around it, else undefined. Keys inside of inline tables and multi-line strings have the line of
 * what they are in.
 */
export function lineOf(toml: string, path: readonly string[]): number | undefined {
  let table: string[] = [];
  let best: { readonly depth: number; readonly line: number } | undefined;
  for (const [index, text] of toml.split('\n').entries()) {
    const header = HEADER.exec(text)?.[1];
    const assigned = header === undefined ? ASSIGNMENT.exec(text)?.[1] : undefined;
    if (header !== undefined) table = keysOf(header);
    const here = header === undefined ? [...table, ...keysOf(assigned ?? '')] : table;
    if (header === undefined && assigned === undefined) continue;
    const depth = commonDepth(here, path);
    const isAround = depth === here.length || depth === path.length;
    if (isAround && depth > (best?.depth ?? 0)) best = { depth, line: index + 1 };
  }
  return best?.line;
}

function keysOf(dotted: string): string[] {
  return [...dotted.matchAll(KEY)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}

function commonDepth(a: readonly string[], b: readonly string[]): number {
  let depth = 0;
  while (depth < a.length && depth < b.length && a[depth] === b[depth]) depth++;
  return depth;
}
