import { AtFlag } from '../constants/file.ts';
import { flags } from '../constants/flags.ts';
import { StatfsFlag } from '../constants/mount.ts';
import { Memory, Named } from '../program/argument.ts';
import type { Sequence } from '../program/sequence.ts';
import { check, type Step, type StepOptions } from '../program/step.ts';
import { WORKING_DIRECTORY } from './files.ts';

const X_OK = new Named(1, 'X_OK');
const F_OK = new Named(0, 'F_OK');

/** faccessat2(2): may this process, by its effective ids, execute the file? */
export function checkExecutable(path: string): Step {
  const args = [WORKING_DIRECTORY, path, X_OK, flags(AtFlag, ['AT_EACCESS'])];
  return { label: `access ${path}`, call: 'faccessat2', args };
}

/** faccessat2(2): is there a file, or whatever else, of that name? */
export function checkExists(path: string): Step {
  return { label: `access ${path}`, call: 'faccessat2', args: [WORKING_DIRECTORY, path, F_OK, 0] };
}

/** struct statfs of 64-bit architectures: f_flags is the 11th word. */
const STATFS_BYTES = 120;
const FLAGS_OFFSET = 80;

/**
 * Fails with EACCES and the given label if the path is on a file system from which nothing may be executed. Whatever cannot
 * be found out passes.
 */
export function refuseNoexec(
  sequence: Sequence,
  path: string,
  options: Pick<StepOptions, 'label' | 'advice'>,
): void {
  const statfs = new Memory(STATFS_BYTES, () => '&statfs');
  const step: Step = { label: `stat file system of ${path}`, call: 'statfs', args: [path, statfs] };
  sequence.add(step, {
    tolerate: 'any',
    ifSucceeded: (known) => {
      const mask = flags(StatfsFlag, ['ST_NOEXEC']);
      const field = statfs.field(FLAGS_OFFSET, 'statfs.f_flags');
      known.add(check(step.label, field, { mask, equals: 0, errno: 'EACCES' }), options);
    },
  });
}
