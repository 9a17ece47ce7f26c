import { TsError } from '../errors/index.ts';
import { openPidfd, waitForChild, waitReadable } from '../linux/index.ts';

/** Waits without blocking: signals are to be forwarded and a terminal to be served meanwhile. */
export async function childExit(pid: number): Promise<number> {
  using pidfd = openPidfd(pid);
  if (pidfd !== undefined) await waitReadable(pidfd.number);
  const exited = waitForChild(pid);
  if (exited === undefined) throw new TsError('Internal', `internal error: ${pid} is no child`);
  return exited.exitCode;
}
