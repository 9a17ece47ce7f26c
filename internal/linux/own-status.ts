import { readFileSync } from 'node:fs';

/**
 * A set of /proc/self/status as bits (man 5 proc): capabilities that can be given, signals that are ignored. Without a
 * regular expression, which V8 would compile for this one use.
 */
export function ownStatusSet(name: 'CapBnd' | 'SigIgn'): bigint {
  return statusSet(readFileSync('/proc/self/status', 'latin1'), name);
}

/** The same of a given text; a kernel that does not have the line has nothing in the set. */
export function statusSet(status: string, name: string): bigint {
  const line = status.indexOf(`\n${name}:\t`);
  if (line < 0) return 0n;
  const start = line + name.length + 3;
  return BigInt(`0x${status.slice(start, status.indexOf('\n', start))}`);
}
