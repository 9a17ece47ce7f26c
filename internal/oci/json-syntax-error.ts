/** Where a text stops being JSON, for people: lines and columns count from 1. */
export interface JsonSyntaxError {
  readonly line: number;
  readonly column: number;
  /** Such as `unexpected "}"` or `unexpected end`. */
  readonly problem: string;
}

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\p{Cc}]|[\x7f-\x9f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/uy;
const SCALAR = /(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)/y;

/**
 * Finds the first syntax error (RFC 8259), undefined if there is none. JSON.parse tells the position
 * only for some errors and in wording of its own; this runs only after it refused a text.
 */
export function jsonSyntaxError(text: string): JsonSyntaxError | undefined {
  const position = errorPosition(text);
  if (position === undefined) return undefined;
  const before = text.slice(0, position);
  const lineStart = before.lastIndexOf('\n') + 1;
  const character = text.codePointAt(position);
  return {
    line: before.split('\n').length,
    column: position - lineStart + 1,
    problem:
      character === undefined
        ? 'unexpected end'
        : `unexpected ${JSON.stringify(String.fromCodePoint(character))}`,
  };
}

/** What may come next. `first` is a value or key that may be missing before a closing bracket. */
type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | 'colon' | 'comma';

function errorPosition(text: string): number | undefined {
  const open: ('[' | '{')[] = [];
  let expected: Expected = 'value';
  let at = 0;
  const skip = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  for (;;) {
    skip(SPACE);
    const character = text[at];
    const inside = open.at(-1);
    if (expected === 'comma' && inside === undefined) {
      return at === text.length ? undefined : at;
    }
    const closes =
      (character === ']' &&
        inside === '[' &&
        (expected === 'comma' || expected === 'value or ]')) ||
      (character === '}' && inside === '{' && (expected === 'comma' || expected === 'key or }'));
    if (closes) {
      open.pop();
      at++;
      expected = 'comma';
    } else if (expected === 'comma') {
      if (character !== ',') return at;
      at++;
      expected = inside === '[' ? 'value' : 'key';
    } else if (expected === 'colon') {
      if (character !== ':') return at;
      at++;
      expected = 'value';
    } else if (expected === 'key' || expected === 'key or }') {
      if (!skip(STRING)) return stringError(text, at);
      expected = 'colon';
    } else if (character === '[' || character === '{') {
      open.push(character);
      at++;
      expected = character === '[' ? 'value or ]' : 'key or }';
    } else {
      if (!skip(STRING) && !skip(SCALAR)) return stringError(text, at);
      expected = 'comma';
    }
  }
}

/** Inside a broken string: the first character that is not allowed; else where it was expected. */
function stringError(text: string, at: number): number {
  if (text[at] !== '"') return at;
  const good = /"(?:[^"\\\p{Cc}]|[\x7f-\x9f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/uy;
  good.lastIndex = at;
  good.test(text);
  return good.lastIndex;
}
