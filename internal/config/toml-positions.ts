/**
 * Where in a TOML text each key stands, for messages about a text that parsed well: the parser keeps
 * no positions. The scan relies on the text being valid TOML (https://toml.io/en/v1.0.0).
 */

/** Lines, counted from 1, by path. Elements of arrays have their index as a step of the path. */
export class TomlPositions {
  readonly #lines = new Map<string, number>();

  constructor(toml: string) {
    new Scanner(toml, (path, line) => {
      // Every table around the key is opened here at the latest.
      for (let depth = 1; depth <= path.length; depth++) {
        const key = keyOf(path.slice(0, depth));
        if (!this.#lines.has(key)) this.#lines.set(key, line);
      }
    }).scan();
  }

  /** The line that sets `path` or opens its table, else that of the nearest table around it. */
  lineOf(path: readonly string[]): number | undefined {
    for (let depth = path.length; depth > 0; depth--) {
      const line = this.#lines.get(keyOf(path.slice(0, depth)));
      if (line !== undefined) return line;
    }
    return undefined;
  }
}

function keyOf(path: readonly string[]): string {
  return JSON.stringify(path);
}

const BARE_KEY = /[A-Za-z0-9_-]+/y;
const BLANK = /[ \t]*/y;
const BLANK_LINES = /(?:[ \t\r\n]+|#[^\n]*)*/y;
/** Strings, the longer delimiters first; up to two quotes may stand before a closing delimiter. */
const STRING =
  /"""(?:[^\\]|\\[\s\S])*?"""(?:"{0,2})|'''[\s\S]*?'''(?:'{0,2})|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'/y;
/** Numbers, booleans and dates, a date with a space in it too. */
const BARE_VALUE = /[^,\]}\n#]*/y;

class Scanner {
  readonly #text: string;
  readonly #report: (path: readonly string[], line: number) => void;
  #at = 0;
  /** Where the line was counted last, and its number. */
  #countedTo = 0;
  #line = 1;
  /** The current index of each array of tables, by path. */
  readonly #arrays = new Map<string, number>();

  constructor(text: string, report: (path: readonly string[], line: number) => void) {
    this.#text = text;
    this.#report = report;
  }

  scan(): void {
    let table: readonly string[] = [];
    for (;;) {
      this.#take(BLANK_LINES);
      if (this.#at >= this.#text.length) return;
      if (this.#peek() === '[') table = this.#header();
      else this.#assignment(table);
    }
  }

  #header(): readonly string[] {
    const isArray = this.#text.startsWith('[[', this.#at);
    this.#at += isArray ? 2 : 1;
    const keys = this.#dottedKey();
    this.#at += isArray ? 2 : 1;
    if (isArray) {
      const array = keyOf([...this.#resolve(keys.slice(0, -1)), ...keys.slice(-1)]);
      this.#arrays.set(array, (this.#arrays.get(array) ?? -1) + 1);
    }
    const path = this.#resolve(keys);
    this.#report(path, this.#lineHere());
    return path;
  }

  /** A header's keys as a path: a key that names an array of tables means its last element. */
  #resolve(keys: readonly string[]): string[] {
    const path: string[] = [];
    for (const key of keys) {
      path.push(key);
      const index = this.#arrays.get(keyOf(path));
      if (index !== undefined) path.push(String(index));
    }
    return path;
  }

  #assignment(table: readonly string[]): void {
    const path = [...table, ...this.#dottedKey()];
    this.#report(path, this.#lineHere());
    this.#at += 1; // the equals sign
    this.#value(path);
  }

  #value(path: readonly string[]): void {
    this.#take(BLANK);
    switch (this.#peek()) {
      case '"':
      case "'":
        this.#take(STRING);
        return;
      case '[':
        this.#elements(']', (index) => {
          const element = [...path, String(index)];
          this.#report(element, this.#lineHere());
          this.#value(element);
        });
        return;
      case '{':
        this.#elements('}', () => this.#assignment(path));
        return;
      default:
        this.#take(BARE_VALUE);
    }
  }

  #elements(end: string, element: (index: number) => void): void {
    this.#at += 1;
    for (let index = 0; ; index++) {
      this.#take(BLANK_LINES);
      if (this.#peek() !== end) element(index);
      this.#take(BLANK_LINES);
      if (this.#peek() === ',') this.#at += 1;
      else break;
    }
    this.#at += 1;
  }

  #dottedKey(): string[] {
    const keys: string[] = [];
    do {
      if (keys.length > 0) this.#at += 1; // the dot
      this.#take(BLANK);
      keys.push(this.#key());
      this.#take(BLANK);
    } while (this.#peek() === '.');
    return keys;
  }

  #key(): string {
    const quote = this.#peek();
    if (quote !== '"' && quote !== "'") return this.#take(BARE_KEY);
    const quoted = this.#take(STRING);
    return quote === '"' && quoted.includes('\\') ? unescaped(quoted) : quoted.slice(1, -1);
  }

  #peek(): string | undefined {
    return this.#text[this.#at];
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const taken = pattern.exec(this.#text)?.[0] ?? '';
    // What is no TOML must not keep the scan in one place.
    this.#at += taken.length > 0 || pattern === BLANK || pattern === BLANK_LINES ? taken.length : 1;
    return taken;
  }

  #lineHere(): number {
    for (; this.#countedTo < this.#at; this.#countedTo++) {
      if (this.#text[this.#countedTo] === '\n') this.#line++;
    }
    return this.#line;
  }
}

/** JSON knows the escapes that people use in keys; of the others the text stays as it is. */
function unescaped(quoted: string): string {
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted.slice(1, -1);
  }
}
