/**
 * A message as Go's encoding/json writes the structs that are generated from .proto files, which is what ctr prints of events
 * and options: names with underscores, fields without a value left out.
 */
export function goJson(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (Array.isArray(value)) return value.map(goJson);
  const isMap = value instanceof Map;
  const entries = isMap ? [...value] : Object.entries(value);
  return Object.fromEntries(
    entries.flatMap(([key, each]) => {
      if (isMap) return [[key, goJson(each)]];
      return isEmpty(each) ? [] : [[withUnderscores(key), goJson(each)]];
    }),
  );
}

function isEmpty(value: unknown): boolean {
  if (value instanceof Map) return value.size === 0;
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length === 0;
  return value === undefined || value === '' || value === 0 || value === 0n || value === false;
}

function withUnderscores(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
