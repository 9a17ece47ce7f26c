import type { AnyMessage } from '../api/any.ts';
import { timestampToNs } from '../api/time.ts';

/**
 * A message of the API as JSON holds it: maps as objects, times in RFC 3339, an Any that holds JSON (containerd's way to
 * pass Go structures) as that, other bytes in base64. Other values stay as they are.
 */
export function jsonOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map(jsonOf);
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([key, each]) => [key, jsonOf(each)] as const));
  }
  const keys = Object.keys(value);
  if (isPair(keys, 'seconds', 'nanos')) {
    return rfc3339(timestampToNs(value as { seconds: bigint; nanos: number }));
  }
  if (isPair(keys, 'typeUrl', 'value')) return anyJson(value as AnyMessage);
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(entries.map(([key, each]) => [key, jsonOf(each)] as const));
}

function isPair(keys: readonly string[], a: string, b: string): boolean {
  return keys.length === 2 && keys.includes(a) && keys.includes(b);
}

function anyJson({ typeUrl, value }: AnyMessage): unknown {
  const bytes = Buffer.from(value);
  if (typeUrl.startsWith('types.containerd.io/')) {
    try {
      return { typeUrl, value: JSON.parse(bytes.toString('utf8')) };
    } catch {
      // Another kind of value under that prefix: shown as bytes.
    }
  }
  return { typeUrl, value: bytes.toString('base64') };
}

/** A time in nanoseconds since the epoch as Go prints it in RFC 3339: no zeros at the end. */
export function rfc3339(ns: bigint): string {
  const seconds = new Date(Number(ns / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${seconds}${fraction(ns)}Z`;
}

/** The same as Go's `%v` prints it in UTC: `2026-11-27 15:48:09.36346873 +0000 UTC`. */
export function goTime(ns: bigint): string {
  const seconds = new Date(Number(ns / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${seconds.replace('T', ' ')}${fraction(ns)} +0000 UTC`;
}

function fraction(ns: bigint): string {
  const digits = (ns % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '');
  return digits === '' ? '' : `.${digits}`;
}
