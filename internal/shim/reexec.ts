import { isSea } from 'node:sea';

/**
 * What to put before the arguments when this program starts itself through process.execPath:
 * nothing for a single-executable application, else Node's own options and the script.
 */
export function reexecArguments(): string[] {
  if (isSea()) return [];
  const [, script = ''] = process.argv;
  return [...process.execArgv, script];
}
