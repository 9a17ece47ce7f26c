import type { Operation } from '../linux/index.ts';

/** What all operations need to know, from the global flags. */
export interface RuntimeOptions {
  /** The state root: one directory per container below it. */
  readonly root: string;
  /** Tolerate that cgroups cannot be made; `auto` decides by the user. */
  readonly rootless: boolean | 'auto';
  /** Takes a line for the debug log. */
  readonly debug: (message: string) => void;
  /** Runs an operation in a process that has other work; absent: it may block this one. */
  readonly perform?: <T>(operation: Operation<T>) => Promise<T>;
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

/** Whether permission errors of cgroups are tolerated. */
export function isRootless(options: RuntimeOptions, uid: number): boolean {
  return options.rootless === 'auto' ? uid !== 0 : options.rootless;
}
