import { isUtf8 } from 'node:buffer';
import { TsError } from '../errors/index.ts';
import { jsonSyntaxError } from './json-syntax-error.ts';

/** What JSON can hold; integers that a number cannot hold exactly are bigints. */
export type Json =
  | string
  | number
  | bigint
  | boolean
  | null
  | Json[]
  | { [key: string]: Json | undefined };

/**
 * Parses a JSON document, integers exactly: those beyond 2^53 become bigints. `document` names it in
 * errors. A key `__proto__` is an own property like any other.
 *
 * Throws InvalidArgument with line and column if it is not JSON.
 */
export function parseJson(input: Uint8Array | string, document: string): Json {
  const text = decodeJson(input, document);
  try {
    // 2^53 has 16 digits; a reviver costs several times the parse, so only texts that need it pay.
    return /[0-9]{16}/.test(text) ? JSON.parse(text, exactInteger) : JSON.parse(text);
  } catch (thrown) {
    const syntax = jsonSyntaxError(text);
    const problem =
      syntax === undefined
        ? String(thrown) // such as nesting beyond the stack
        : `line ${syntax.line}, column ${syntax.column}: ${syntax.problem}`;
    throw new TsError('InvalidArgument', `${document}: not JSON: ${problem}`, {
      code: 'TS_SPEC_NOT_JSON',
      cause: thrown,
    });
  }
}

/** The text of a document. Throws InvalidArgument if it is not UTF-8. */
export function decodeJson(input: Uint8Array | string, document: string): string {
  if (typeof input === 'string') return input;
  if (!isUtf8(input)) {
    throw new TsError('InvalidArgument', `${document}: not UTF-8`, { code: 'TS_SPEC_NOT_JSON' });
  }
  return Buffer.from(input).toString('utf8');
}

function exactInteger(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value)) return value;
  const source = context?.source;
  return source !== undefined && /^-?[0-9]+$/.test(source) ? BigInt(source) : value;
}

/** JSON text of a value that may hold bigints, which become plain integers. */
export function formatJson(value: unknown, indent: string | number = 0): string {
  return JSON.stringify(value, rawInteger, indent);
}

/** In Node since version 22; not yet in TypeScript's library. */
const { rawJSON } = JSON as unknown as { rawJSON: (text: string) => unknown };

function rawInteger(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? rawJSON(String(value)) : value;
}
