import { TsError } from '../errors/index.ts';
import { connectUnix, type OwnedFd } from '../linux/index.ts';
import type { Process } from '../oci/index.ts';

/**
 * Connects to the console socket of a process with a terminal. Throws InvalidArgument if the two do
 * not go together.
 */
export function connectConsole(
  process: Process,
  path: string | undefined,
  { isDetached }: { isDetached: boolean },
): OwnedFd | undefined {
  const hasTerminal = process.terminal === true;
  if (hasTerminal && path === undefined && isDetached) {
    throw new TsError(
      'InvalidArgument',
      'cannot allocate tty if tsrunc will detach without setting console socket',
      {
        code: 'TS_CONSOLE_SOCKET_MISSING',
        advice: 'give --console-socket, or set process.terminal to false',
      },
    );
  }
  if (!hasTerminal && path !== undefined) {
    throw new TsError(
      'InvalidArgument',
      'cannot use console socket if tsrunc will not detach or allocate tty',
      {
        code: 'TS_CONSOLE_SOCKET_UNUSED',
        advice: 'set process.terminal to true, or leave --console-socket out',
      },
    );
  }
  return path === undefined ? undefined : connectUnix(path);
}
