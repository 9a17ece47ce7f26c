import { readFileSync } from 'node:fs';

/** Whether this process is in the user namespace of the machine, which maps all ids to themselves (man 7 user_namespaces). */
export function isInitialUserNamespace(): boolean {
  const map = readFileSync('/proc/self/uid_map', 'latin1');
  return /^\s*0\s+0\s+4294967295\s*$/.test(map);
}
