/**
 * Parses flags as Go's `flag` package and urfave/cli v1 do, which is what callers of an OCI runtime
 * write for: `-x` and `--x` are the same flag, a value follows as `=value` or as the next argument,
 * a bool flag takes a value only with `=`, and `--` ends the flags.
 */
import { parseDurationMs } from '../notation/go-duration.ts';

export type FlagType = 'bool' | 'string' | 'int' | 'float' | 'duration' | 'string[]' | 'int[]';

export interface FlagSpec {
  readonly type: FlagType;
  readonly usage: string;
  readonly short?: string;
  readonly default?: string | number;
  /** Not shown by `--help`; accepted for callers that still give it. */
  readonly hidden?: boolean;
}

export type FlagSpecs = Readonly<Record<string, FlagSpec>>;

type ValueOf = {
  bool: boolean;
  string: string;
  int: number;
  float: number;
  /** Milliseconds. */
  duration: number;
  'string[]': string[];
  'int[]': number[];
};

/** Flag values by long name; a flag that was not given is absent. */
export class FlagValues {
  readonly #values = new Map<string, ValueOf[FlagType]>();

  has(name: string): boolean {
    return this.#values.has(name);
  }

  set(name: string, value: ValueOf[FlagType]): void {
    this.#values.set(name, value);
  }

  /** Takes over what `other` has; of a flag that both have its value is the last word. */
  adopt(other: FlagValues): void {
    for (const [name, value] of other.#values) this.#values.set(name, value);
  }

  bool(name: string): boolean {
    return this.#values.get(name) === true;
  }

  string(name: string): string | undefined {
    return this.#values.get(name) as string | undefined;
  }

  number(name: string): number | undefined {
    return this.#values.get(name) as number | undefined;
  }

  strings(name: string): string[] {
    return (this.#values.get(name) as string[] | undefined) ?? [];
  }

  numbers(name: string): number[] {
    return (this.#values.get(name) as number[] | undefined) ?? [];
  }
}

export interface ParsedArguments {
  readonly flags: FlagValues;
  readonly positional: string[];
}

/** A command line that cannot be understood; the text is the one Go's flag package prints. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * Splits `argv` into flags and positional arguments.
 *
 * With `interspersed` flags are also taken after positional arguments (urfave/cli reorders them for
 * most commands): those that are known and have their value; others are arguments there. Without it
 * parsing stops at the first argument that is no flag. Throws {@link UsageError}.
 */
export function parseFlags(
  argv: readonly string[],
  specs: FlagSpecs,
  { interspersed }: { interspersed: boolean },
): ParsedArguments {
  const byName = new Map<string, [string, FlagSpec]>();
  for (const [name, spec] of Object.entries(specs)) {
    byName.set(name, [name, spec]);
    if (spec.short !== undefined) byName.set(spec.short, [name, spec]);
  }
  const flags = new FlagValues();
  const positional: string[] = [];
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] as string;
    if (argument === '--') {
      positional.push(...argv.slice(i + 1));
      break;
    }
    if (argument.length < 2 || !argument.startsWith('-')) {
      if (!interspersed) {
        positional.push(...argv.slice(i));
        break;
      }
      positional.push(argument);
      continue;
    }
    const body = argument.slice(argument.startsWith('--') ? 2 : 1);
    if (body === '' || body.startsWith('-') || body.startsWith('=')) {
      throw new UsageError(`bad flag syntax: ${argument}`);
    }
    const equals = body.indexOf('=');
    const given = equals === -1 ? body : body.slice(0, equals);
    const found = byName.get(given);
    const lacksValue = equals === -1 && found?.[1].type !== 'bool' && i + 1 === argv.length;
    if (positional.length > 0 && (found === undefined || lacksValue)) {
      positional.push(argument);
      continue;
    }
    if (found === undefined) throw new UsageError(`flag provided but not defined: -${given}`);
    const [name, spec] = found;
    let text = equals === -1 ? undefined : body.slice(equals + 1);
    if (text === undefined) {
      if (spec.type === 'bool') {
        text = 'true';
      } else if (i + 1 < argv.length) {
        text = argv[++i] as string;
      } else {
        throw new UsageError(`flag needs an argument: -${given}`);
      }
    }
    assign(flags, name, given, spec, text);
  }
  return { flags, positional };
}

function assign(
  flags: FlagValues,
  name: string,
  given: string,
  spec: FlagSpec,
  text: string,
): void {
  const refuse = (why = 'parse error'): never => {
    const [kind, what] = spec.type === 'bool' ? ['boolean ', ''] : ['', 'flag '];
    throw new UsageError(`invalid ${kind}value "${text}" for ${what}-${given}: ${why}`);
  };
  switch (spec.type) {
    case 'bool':
      flags.set(name, parseBool(text) ?? refuse());
      return;
    case 'string':
      flags.set(name, text);
      return;
    case 'int':
      flags.set(name, parseInteger(text) ?? refuse());
      return;
    case 'float':
      flags.set(name, parseFloat64(text) ?? refuse());
      return;
    case 'duration':
      flags.set(name, parseDurationMs(text) ?? refuse());
      return;
    case 'string[]':
      flags.set(name, [...flags.strings(name), text]);
      return;
    case 'int[]':
      flags.set(name, [
        ...flags.numbers(name),
        parseDecimal(text) ?? refuse(`strconv.ParseInt: parsing "${text}": invalid syntax`),
      ]);
      return;
  }
}

/** Go's strconv.ParseBool. */
export function parseBool(text: string): boolean | undefined {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false;
  return undefined;
}

/** Go's integer literals: 0x, 0o and 0b, octal after a 0 alone, `_` between digits. */
const INTEGER = /^[+-]?(?:0x(?:_?[0-9a-f])+|0b(?:_?[01])+|0o?(?:_?[0-7])+|0|[1-9](?:_?[0-9])*)$/i;

/** An integer as strconv.ParseInt reads it with base 0, that a double holds exactly, or undefined. */
function parseInteger(text: string): number | undefined {
  if (!INTEGER.test(text)) return undefined;
  const digits = text.replace(/^[+-]/, '').replaceAll('_', '');
  return exact(text, Number(/^0[0-9]/.test(digits) ? `0o${digits}` : digits));
}

/** The same with base 10. */
function parseDecimal(text: string): number | undefined {
  return /^[+-]?[0-9]+$/.test(text) ? exact(text, Number(text.replace(/^[+-]/, ''))) : undefined;
}

function exact(text: string, size: number): number | undefined {
  const value = text.startsWith('-') && size !== 0 ? -size : size;
  return Number.isSafeInteger(value) ? value : undefined;
}

/** A decimal number, with an exponent or without. */
function parseFloat64(text: string): number | undefined {
  return /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?$/i.test(text)
    ? Number(text)
    : undefined;
}
