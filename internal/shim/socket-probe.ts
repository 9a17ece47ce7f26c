import { openSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { lockExclusively, OpenFlag, OwnedFd } from '../linux/index.ts';

/**
 * Locks a directory of sockets against all others who look whether a shim is there and act on it:
 * else two could find the same dead socket, and the slower one remove the new one of the faster.
 */
export function lockSocketDirectory(path: string): OwnedFd {
  const directory = dirname(path);
  const lock = new OwnedFd(openSync(directory, OpenFlag.O_RDONLY | OpenFlag.O_DIRECTORY));
  try {
    lockExclusively(lock.number, directory);
    return lock;
  } catch (thrown) {
    lock.close();
    throw thrown;
  }
}

/**
 * Whether a shim listens at `path`; to be called under {@link lockSocketDirectory}. The file of a
 * socket that nobody listens on is removed. Throws Unavailable when it cannot be told.
 */
export async function isShimListening(path: string): Promise<boolean> {
  const errno = await new Promise<string | undefined>((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error) => resolve(errnoNameOf(error) ?? error.message));
  });
  if (errno === undefined) return true;
  if (errno === 'ECONNREFUSED') rmSync(path, { force: true });
  else if (errno !== 'ENOENT') throw new TsError('Unavailable', `connect to ${path}: ${errno}`);
  return false;
}
