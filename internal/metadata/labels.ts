import { TsError } from '../errors/index.ts';
import type { Labels } from './scope.ts';

/** Most bytes of a label's key and value together. */
const MAX_BYTES = 4096;
/** How much of an oversized key the error shows. */
const SHOWN_KEY_LENGTH = 64;

/**
 * Checks each label's length; `what` comes first in the error: `container.Labels`. Throws
 * InvalidArgument. (containerd pkg/labels.)
 */
export function checkLabels(what: string, labels: Labels): void {
  for (const [key, value] of labels) {
    const bytes = Buffer.byteLength(key) + Buffer.byteLength(value);
    if (bytes <= MAX_BYTES) continue;
    throw new TsError(
      'InvalidArgument',
      `${what}: label key and value length (${bytes} bytes) greater than maximum size ` +
        `(${MAX_BYTES} bytes), key: ${key.slice(0, SHOWN_KEY_LENGTH)}: invalid argument`,
    );
  }
}

/** A map of strings as its database column: a JSON object. */
export function encodeMap(map: ReadonlyMap<string, string>): string {
  return JSON.stringify(Object.fromEntries(map)); // own properties only, so `__proto__` is a key
}

/** Reads a database column that `encodeMap` or `encodeLabels` wrote. */
export function decodeMap(column: string): ReadonlyMap<string, string> {
  return column === '{}' ? EMPTY : new Map(Object.entries(JSON.parse(column)));
}

const EMPTY: ReadonlyMap<string, string> = new Map();

/** Labels as their database column. A label without a value is no label: that is how clients
 * remove one. */
export function encodeLabels(labels: Labels): string {
  return encodeMap(new Map([...labels].filter(([, value]) => value !== '')));
}

/** `current` with the entry `key` as in `update`: set, or removed when `update` has none. */
export function withEntry(
  current: ReadonlyMap<string, string>,
  key: string,
  update: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> {
  const result = new Map(current);
  const value = update.get(key);
  if (value === undefined) result.delete(key);
  else result.set(key, value);
  return result;
}
