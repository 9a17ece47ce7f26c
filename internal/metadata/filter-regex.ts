/**
 * Regular expressions of filters, in RE2's syntax as clients of containerd write them.
 *
 * The attack: `name~=^(a+)+$` on a label of a client's own choice keeps a backtracking engine, and with it
 * the whole daemon, busy for hours. So expressions run in V8's linear-time engine, which knows
 * neither counted repetition nor case folding: both are written out here. What RE2 has and this has
 * not is refused, never taken for something else. (RE2's syntax: pkg.go.dev/regexp/syntax.)
 */

let isEngineOn = false;

/** Allows the flag `l` and changes no other expression; without it `l` is a syntax error. */
function switchEngineOn(): void {
  if (isEngineOn) return;
  // Not imported: it takes 3 ms of the start of a daemon, which often compiles no expression.
  process.getBuiltinModule('node:v8').setFlagsFromString('--enable-experimental-regexp-engine');
  isEngineOn = true;
}

/** Largest count of a repetition, as in RE2. */
const MAX_REPEAT = 1000;
/** Longest expression with its repetitions written out: time grows with it. */
const MAX_LENGTH = 5000;

/** Compiles an expression for `test`. Throws an Error with the reason when it cannot. */
export function compileRegex(source: string): RegExp {
  switchEngineOn();
  // RE2's leading flags are flags of the whole expression in JavaScript.
  const [prefix = '', flags = ''] = /^\(\?([ims]+)\)/.exec(source) ?? [];
  const translated = new Translator(source.slice(prefix.length), flags).run();
  return new RegExp(translated, `l${[...new Set(flags.replaceAll('i', ''))].join('')}`);
}

/** Characters of `[[:name:]]`. */
const POSIX_CLASSES: ReadonlyMap<string, string> = new Map([
  ['alnum', '0-9A-Za-z'],
  ['alpha', 'A-Za-z'],
  ['blank', '\\t '],
  ['digit', '0-9'],
  ['lower', 'a-z'],
  ['punct', '!-\\/:-@\\[-`{-~'],
  ['space', '\\t-\\r '],
  ['upper', 'A-Z'],
  ['word', '0-9A-Za-z_'],
  ['xdigit', '0-9A-Fa-f'],
]);

const GROUP = /\((?:\?(?::|P?<[A-Za-z_][A-Za-z0-9_]*>))?(?!\?)/y;
const REPEAT = /\{([0-9]+)(?:(,)([0-9]*))?\}\??/y;
const SIMPLE_REPEAT = /[*+?]\??/y;
/** Escapes that mean the same in both languages, in a class too. */
const ESCAPE = /\\(?:[dDwWsStnrfv]|x[0-9A-Fa-f]{2}|[^A-Za-z0-9])/y;

class Translator {
  readonly #source: string;
  readonly #foldsCase: boolean;
  readonly #isMultiline: boolean;
  #at = 0;
  #out = '';
  /** Where open groups begin in the output. */
  readonly #groups: number[] = [];
  /** Where the last atom begins in the output: what a repetition is of. */
  #atom: number | undefined;

  constructor(source: string, flags: string) {
    this.#source = source;
    this.#foldsCase = flags.includes('i');
    this.#isMultiline = flags.includes('m');
  }

  run(): string {
    while (this.#at < this.#source.length) {
      this.#next();
      if (this.#out.length > MAX_LENGTH) throw new Error('regular expression is too large');
    }
    if (this.#groups.length > 0) throw new Error('missing closing )');
    return this.#out;
  }

  #next(): void {
    const character = this.#source[this.#at] ?? '';
    if (character === '(') this.#open();
    else if (character === ')') this.#close();
    else if (character === '[') this.#emitAtom(this.#class());
    else if (character === '\\') this.#escape();
    else if (character === '*' || character === '+' || character === '?') this.#repeatSimply();
    else if (character === '{' && this.#match(REPEAT) !== undefined) this.#repeat();
    else if (character === '|' || character === '^' || character === '$') {
      this.#at++;
      this.#out += character;
      this.#atom = undefined;
    } else {
      this.#at++;
      this.#emitAtom(character === '.' ? '.' : this.#literal(character));
    }
  }

  /** Nobody asks for what a group matched, so that none need be kept. */
  #open(): void {
    const group = this.#take(GROUP);
    if (group === undefined) {
      const what = /\(\?.?.?/.exec(this.#source.slice(this.#at))?.[0];
      throw new Error(`unsupported group ${what}`);
    }
    this.#groups.push(this.#out.length);
    this.#out += '(?:';
    this.#atom = undefined;
  }

  #close(): void {
    const start = this.#groups.pop();
    if (start === undefined) throw new Error('unexpected )');
    this.#at++;
    this.#out += ')';
    this.#atom = start;
  }

  #escape(): void {
    const simple = this.#take(ESCAPE);
    if (simple !== undefined) {
      this.#emitAtom(simple);
      return;
    }
    const sequence = this.#source.slice(this.#at, this.#at + 2);
    if (sequence === '\\b' || sequence === '\\B') this.#out += sequence;
    else if (sequence === '\\A' && !this.#isMultiline) this.#out += '^';
    else if (sequence === '\\z' && !this.#isMultiline) this.#out += '$';
    else throw new Error(`unsupported escape ${sequence}`);
    this.#at += sequence.length;
    this.#atom = undefined;
  }

  #repeatSimply(): void {
    this.#takeAtom();
    this.#out += this.#take(SIMPLE_REPEAT);
    this.#atom = undefined;
  }

  #repeat(): void {
    const atom = this.#out.slice(this.#takeAtom());
    const [, low = '0', comma, high = ''] = this.#match(REPEAT) ?? [];
    this.#take(REPEAT);
    const [least, most] = [Number(low), high === '' ? Number(low) : Number(high)];
    if (Math.max(least, most) > MAX_REPEAT || most < least) {
      throw new Error(`repetition {${low}${comma ?? ''}${high}} is not within 0 to ${MAX_REPEAT}`);
    }
    if (atom.length * most > MAX_LENGTH) throw new Error('regular expression is too large');
    this.#out = this.#out.slice(0, this.#out.length - atom.length) + atom.repeat(least);
    if (comma === undefined || high !== '') this.#out += `${atom}?`.repeat(most - least);
    else this.#out += `${atom}*`;
    this.#atom = undefined;
  }

  #takeAtom(): number {
    if (this.#atom === undefined) {
      throw new Error(`nothing to repeat before ${this.#source[this.#at]}`);
    }
    return this.#atom;
  }

  #emitAtom(text: string): void {
    this.#atom = this.#out.length;
    this.#out += text;
  }

  #literal(character: string): string {
    const [lower, upper] = [character.toLowerCase(), character.toUpperCase()];
    if (this.#foldsCase && lower !== upper) {
      if (!/[a-z]/i.test(character)) throw new Error(`unsupported (?i) for ${character}`);
      return `[${lower}${upper}]`;
    }
    return /[\]{}]/.test(character) ? `\\${character}` : character;
  }

  #class(): string {
    this.#at++;
    const isNegated = this.#source[this.#at] === '^';
    if (isNegated) this.#at++;
    let text = isNegated ? '[^' : '[';
    for (let isFirst = true; isFirst || this.#source[this.#at] !== ']'; isFirst = false) {
      if (this.#at >= this.#source.length) throw new Error('missing closing ]');
      text += this.#classItem();
    }
    this.#at++;
    return `${text}]`;
  }

  #classItem(): string {
    const posix = this.#take(/\[:\^?[a-z]*:\]/y);
    if (posix !== undefined) {
      const range = POSIX_CLASSES.get(posix.slice(2, -2));
      if (range === undefined) throw new Error(`unsupported class ${posix}`);
      return this.#foldsCase && /lower|upper/.test(posix) ? 'A-Za-z' : range;
    }
    const first = this.#classCharacter();
    const isRange = this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']';
    if (!isRange || first === undefined) {
      return first === undefined ? this.#lastEscape : this.#ranges(first, first);
    }
    this.#at++;
    const last = this.#classCharacter();
    if (last === undefined || last < first) throw new Error('malformed range in [ ]');
    return this.#ranges(first, last);
  }

  #lastEscape = '';

  /** Code unit of the next character of a class; undefined for a set such as `\d`. */
  #classCharacter(): number | undefined {
    if (this.#source[this.#at] !== '\\') return this.#source.charCodeAt(this.#at++);
    const sequence = this.#take(ESCAPE);
    if (sequence === undefined) {
      throw new Error(`unsupported escape ${this.#source.slice(this.#at, this.#at + 2)} in [ ]`);
    }
    this.#lastEscape = sequence;
    if (/^\\[dDwWsS]$/.test(sequence)) return undefined;
    if (sequence.startsWith('\\x')) return Number.parseInt(sequence.slice(2), 16);
    const control = '\t\n\v\f\r'['tnvfr'.indexOf(sequence[1] ?? '')];
    return (control ?? sequence.slice(1)).charCodeAt(0);
  }

  /** A range of a class and, without regard to case, the same letters of the other case. */
  #ranges(first: number, last: number): string {
    const hex = (code: number): string => `\\u${code.toString(16).padStart(4, '0')}`;
    let text = `${hex(first)}-${hex(last)}`;
    if (!this.#foldsCase) return text;
    for (const [from, distance] of [
      [0x41, 32],
      [0x61, -32],
    ] as const) {
      const [low, high] = [Math.max(first, from), Math.min(last, from + 25)];
      if (low <= high) text += `${hex(low + distance)}-${hex(high + distance)}`;
    }
    return text;
  }

  #match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#source) ?? undefined;
  }

  #take(pattern: RegExp): string | undefined {
    const match = this.#match(pattern);
    if (match === undefined) return undefined;
    this.#at += match[0].length;
    return match[0];
  }
}
