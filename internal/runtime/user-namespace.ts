import { readFileSync } from 'node:fs';

let isInitial: boolean | undefined;

/**
 * Whether this process is in the user namespace of the machine, which maps all ids to themselves (man 7 user_namespaces).
 * Looked up once: a process with threads cannot join another one.
 */
export function isInitialUserNamespace(): boolean {
  isInitial ??= /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'latin1'));
  return isInitial;
}
