import { TsError } from '../errors/index.ts';

/** Longest id: it becomes a directory name (NAME_MAX). */
const MAX_LENGTH = 255;

/**
 * Refuses an id that is no plain file name of runc's alphabet (`^[A-Za-z0-9_+.-]+$`, and neither `.`
 * nor `..`), since it becomes a directory below the state root and the name of a cgroup.
 */
export function checkContainerId(id: string): void {
  const isPlain = /^[A-Za-z0-9_+.-]+$/.test(id) && id !== '.' && id !== '..';
  if (isPlain && id.length <= MAX_LENGTH) return;
  throw new TsError(
    'InvalidArgument',
    `container id ${JSON.stringify(id)}: invalid container ID format`,
    {
      code: 'TS_CONTAINER_ID_INVALID',
      advice: 'use only letters, digits and _ + - . in a container id',
      fields: { id },
    },
  );
}
