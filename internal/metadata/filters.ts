/**
 * containerd's filter language: `field==value`, `field!=value`, `field~=regex`, or `field` alone
 * for presence; a comma between them means and, several filters mean or. A field is a path such as
 * `labels."io.example/key"`. (containerd pkg/filters.)
 */
import { TsError } from '../errors/index.ts';
import { compileRegex } from './filter-regex.ts';

/** Looks a field of an object up by its path; undefined when it is not there. */
export type FieldLookup = (path: readonly string[]) => string | undefined;

type Selector = (field: FieldLookup) => boolean;

/**
 * Compiles filters into a predicate; without filters, or with an empty one, it accepts all. A
 * malformed filter is InvalidArgument.
 */
export function compileFilters(filters: readonly string[] = []): (field: FieldLookup) => boolean {
  if (filters.length === 0) return () => true;
  const alternatives = filters.map((filter) => new FilterParser(filter).parse());
  return (field) =>
    alternatives.some((selectors) => selectors.every((selector) => selector(field)));
}

/** Field lookup in a map below a prefix: `labels.KEY`, where KEY may contain dots. */
export function lookUpMap(
  map: ReadonlyMap<string, string>,
  path: readonly string[],
): string | undefined {
  return map.get(path.slice(1).join('.'));
}

/** A string field: an empty one is absent. */
export function present(value: string): string | undefined {
  return value === '' ? undefined : value;
}

const FIELD = /[A-Za-z0-9_]+/y;
const OPERATOR = /==|!=|~=/y;
const BARE_VALUE = /[^\s,]+/y;
const SPACE = /\s*/y;

class FilterParser {
  readonly #text: string;
  #position = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Selector[] {
    const selectors: Selector[] = [];
    this.#take(SPACE);
    if (this.#isAtEnd()) return selectors;
    for (;;) {
      selectors.push(this.#selector());
      this.#take(SPACE);
      if (this.#isAtEnd()) return selectors;
      this.#expect(',');
      this.#take(SPACE);
    }
  }

  #selector(): Selector {
    const path = this.#path();
    this.#take(SPACE);
    const operator = this.#take(OPERATOR);
    if (operator === undefined) {
      if (!this.#isAtEnd() && this.#text[this.#position] !== ',') {
        this.#fail('expected an operator ==, != or ~=');
      }
      return (field) => field(path) !== undefined;
    }
    this.#take(SPACE);
    if (operator === '~=') {
      const regex = this.#regex(this.#value(true));
      return (field) => regex.test(field(path) ?? '');
    }
    const value = this.#value(false);
    return operator === '=='
      ? (field) => field(path) === value
      : (field) => (field(path) ?? '') !== value;
  }

  #path(): string[] {
    const path = [this.#field()];
    while (this.#text[this.#position] === '.') {
      this.#position++;
      path.push(this.#field());
    }
    return path;
  }

  #field(): string {
    if (this.#text[this.#position] === '"') return this.#quoted('"');
    return this.#take(FIELD) ?? this.#fail('expected field or quoted');
  }

  /** A regular expression may also stand between slashes or bars, which saves escaping quotes. */
  #value(isRegex: boolean): string {
    const quote = this.#text[this.#position];
    if (quote === '"' || (isRegex && (quote === '/' || quote === '|'))) return this.#quoted(quote);
    return this.#take(BARE_VALUE) ?? this.#fail('expected value or quoted');
  }

  #quoted(quote: string): string {
    let end = this.#position + 1;
    while (end < this.#text.length && this.#text[end] !== quote) {
      end += this.#text[end] === '\\' ? 2 : 1;
    }
    if (end >= this.#text.length) this.#fail('quoted literal not terminated');
    const inner = this.#text.slice(this.#position + 1, end);
    this.#position = end + 1;
    // Between other quotes only the quote itself is escaped, the rest belongs to the expression.
    return quote === '"' ? this.#unescape(inner) : inner.replaceAll(`\\${quote}`, quote);
  }

  #unescape(inner: string): string {
    return inner.replace(
      /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([\s\S]?))/g,
      (_all, x?: string, u4?: string, u8?: string, simple?: string) => {
        const hex = x ?? u4 ?? u8;
        if (hex !== undefined) return this.#codePoint(Number.parseInt(hex, 16));
        const escaped = ESCAPES.get(simple ?? '');
        return escaped ?? this.#fail(`unknown escape \\${simple ?? ''}`);
      },
    );
  }

  #codePoint(code: number): string {
    return code <= 0x10ffff ? String.fromCodePoint(code) : this.#fail('no such character');
  }

  #regex(source: string): RegExp {
    try {
      return compileRegex(source);
    } catch (error) {
      return this.#fail((error as Error).message);
    }
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.#position = pattern.lastIndex;
    return match[0];
  }

  #expect(character: string): void {
    if (this.#text[this.#position] !== character) this.#fail(`expected "${character}"`);
    this.#position++;
  }

  #isAtEnd(): boolean {
    return this.#position >= this.#text.length;
  }

  #fail(reason: string): never {
    const before = this.#text.slice(0, this.#position);
    const token = /^(?:[=!~]+|[\s\S])?/.exec(this.#text.slice(this.#position))?.[0] ?? '';
    const after = this.#text.slice(this.#position + token.length);
    throw new TsError(
      'InvalidArgument',
      `filters: parse error: [${before} >|${token}|< ${after}]: ${reason}: invalid argument`,
      { code: 'TS_FILTER_SYNTAX', fields: { filter: this.#text, position: this.#position } },
    );
  }
}

const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ["'", "'"],
  ['\\', '\\'],
  ['a', '\x07'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
]);
