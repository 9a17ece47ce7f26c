/**
 * The directory of one container below the state root: `ROOT/ID`. Its existence is what makes an id
 * taken; mkdir is atomic, so of two creates of one id exactly one goes on.
 */
import { existsSync, mkdirSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';
import { unmountAll } from '../linux/mount.ts';
import { checkContainerId } from './container-id.ts';

/** Path of a file of the container's state directory. */
export function statePath(root: string, id: string, ...names: string[]): string {
  return join(root, id, ...names);
}

/**
 * Makes the state directory of a new container. Throws AlreadyExists if the id is taken,
 * InvalidArgument for a bad id or a root that is `/`.
 */
export function makeStateDirectory(root: string, id: string): string {
  checkContainerId(id);
  try {
    mkdirSync(root, { recursive: true, mode: 0o700 });
  } catch (thrown) {
    throw TsError.from(thrown, `make state root ${root}`);
  }
  if (realpathSync(root) === '/') {
    throw new TsError('InvalidArgument', 'state root is /', {
      code: 'TS_STATE_ROOT_IS_ROOT',
      advice: 'give --root a directory of its own',
    });
  }
  const directory = statePath(root, id);
  try {
    mkdirSync(directory, { mode: 0o711 });
  } catch (thrown) {
    if (!isErrno(thrown, 'EEXIST')) throw TsError.from(thrown, `make state directory ${directory}`);
    throw new TsError('AlreadyExists', `${id}: container with given ID already exists`, {
      code: 'TS_CONTAINER_EXISTS',
      fields: { id, path: directory },
    });
  }
  return directory;
}

/** Where the rootfs is mounted while a container is restored. */
export const CRIU_ROOT = 'criu-root';

/** Removes the state directory and so frees the id. No error if it is gone. */
export function removeStateDirectory(root: string, id: string): void {
  checkContainerId(id);
  const criuRoot = statePath(root, id, CRIU_ROOT);
  // Left by a restore that was killed: what is mounted there must not be removed with the directory.
  if (existsSync(criuRoot)) unmountAll(criuRoot);
  rmSync(statePath(root, id), { recursive: true, force: true });
}

/** Ids that have a state directory, sorted. */
export function stateIds(root: string, { mayBeMissing }: { mayBeMissing: boolean }): string[] {
  try {
    return readdirSync(root, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
      .sort();
  } catch (thrown) {
    if (mayBeMissing && isErrno(thrown, 'ENOENT')) return [];
    throw TsError.from(thrown, `read state root ${root}`);
  }
}

/** The error of every command for an id that is not there. */
export function containerNotFound(id: string): TsError {
  return new TsError('NotFound', `${id}: container does not exist`, {
    code: 'TS_CONTAINER_NOT_FOUND',
    fields: { id },
  });
}
