import type { KeyValue } from './messages.ts';

/** Metadata by key: keys in lower case, values in the order of the wire. */
export function metadataMap(pairs: Iterable<KeyValue>): Map<string, string[]> {
  const map = new Map<string, string[]>();
  for (const { key, value } of pairs) {
    const name = key.toLowerCase();
    const values = map.get(name);
    if (values === undefined) map.set(name, [value]);
    else values.push(value);
  }
  return map;
}

/** Metadata as it is sent: keys folded to lower case, order and repetition kept. */
export function metadataPairs(pairs: Iterable<readonly [string, string]> = []): KeyValue[] {
  return Array.from(pairs, ([key, value]) => ({ key: key.toLowerCase(), value }));
}
