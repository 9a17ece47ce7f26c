// A call may meet the end of its container at any moment. What it fails with then depends on how far it was, and says nothing
// to a kubelet; so it is answered as if it had come after the end.
import { readFile } from 'node:fs/promises';
import { type ErrorKind, isErrno, TsError } from '../errors/index.ts';
import type { Container } from './container.ts';

/** Kinds by which nobody can decide anything. */
const VAGUE: ReadonlySet<ErrorKind> = new Set(['Unknown', 'Internal', 'Unavailable', 'Canceled']);

/** Throws FailedPrecondition for a container that does not run. */
export function requireRunning(container: Container): void {
  if (container.isRunning) return;
  throw new TsError('FailedPrecondition', `container ${container.id}: not running`);
}

/** Makes a call to the process of a container. Throws FailedPrecondition when that does not run, or ends meanwhile. */
export async function whileRunning<T>(container: Container, call: () => Promise<T>): Promise<T> {
  requireRunning(container);
  const { pid } = container;
  try {
    return await call();
  } catch (thrown) {
    const error = TsError.from(thrown);
    const isLate = !container.isRunning || container.isKilled || (await hasEnded(pid));
    if (!isLate || !VAGUE.has(error.kind)) throw error;
    throw new TsError(
      'FailedPrecondition',
      `container ${container.id}: not running any more: ${error.message}`,
      { cause: error },
    );
  }
}

/** Whether a process is gone, or dead: its shim may not have seen that yet (man 5 proc). */
export async function hasEnded(pid: number): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    return /^\) [ZX]/.test(stat.slice(stat.lastIndexOf(')')));
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT', 'ESRCH')) return true;
    throw thrown;
  }
}
