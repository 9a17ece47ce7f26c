import { AtFlag } from '../constants/file.ts';
import { flags } from '../constants/flags.ts';
import { Named } from '../program/argument.ts';
import type { Step } from '../program/step.ts';
import { WORKING_DIRECTORY } from './files.ts';

const X_OK = new Named(1, 'X_OK');

/** faccessat2(2): may this process, by its effective ids, execute the file? */
export function checkExecutable(path: string): Step {
  const args = [WORKING_DIRECTORY, path, X_OK, flags(AtFlag, ['AT_EACCESS'])];
  return { label: `access ${path}`, call: 'faccessat2', args };
}
