import type { ResctrlHost } from '../cgroups/index.ts';
import type { Operation } from '../linux/operation.ts';
import { isInitialUserNamespace } from './user-namespace.ts';

/** What all operations need to know, from the global flags. */
export interface RuntimeOptions {
  /** The state root: one directory per container below it. */
  readonly root: string;
  /** Tolerate that cgroups cannot be made; `auto` decides by the user. */
  readonly rootless: boolean | 'auto';
  /** systemd makes the cgroups, and linux.cgroupsPath is slice:prefix:name. */
  readonly systemdCgroup?: boolean;
  /** Takes a line for the debug log. */
  readonly debug: (message: string) => void;
  /** Stands in for the resctrl that is mounted. */
  readonly resctrl?: ResctrlHost;
  /** Runs an operation in a process that has other work; absent: it may block this one. */
  readonly perform?: <T>(operation: Operation<T>) => Promise<T>;
}

/**
 * In a process with other work the operation waits as that process says; else it blocks. Commands that perform none, such
 * as `state`, do not load what makes system calls.
 */
export async function perform<T>(options: RuntimeOptions, operation: Operation<T>): Promise<T> {
  if (options.perform !== undefined) return options.perform(operation);
  const { runAlone } = await import('../linux/operation.ts');
  return runAlone(operation);
}

/** `/run/tsrunc`, or below $XDG_RUNTIME_DIR for an unprivileged user who has one. */
export function defaultRoot(
  uid: number,
  env: Readonly<Record<string, string | undefined>>,
): string {
  const runtimeDirectory = env['XDG_RUNTIME_DIR'];
  if (uid !== 0 && runtimeDirectory !== undefined && runtimeDirectory !== '') {
    return `${runtimeDirectory}/tsrunc`;
  }
  return '/run/tsrunc';
}

/**
 * Whether permission errors of cgroups are tolerated. Root of a user namespace is as unprivileged as the user whom the
 * namespace belongs to.
 */
export function isRootless(options: RuntimeOptions, uid: number): boolean {
  if (options.rootless !== 'auto') return options.rootless;
  return uid !== 0 || !isInitialUserNamespace();
}
