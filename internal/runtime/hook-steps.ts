import { type Announcement, type Result, type Sequence, type Step, steps } from '../linux/index.ts';
import type { Hook } from '../oci/index.ts';

/** fds that a hook's process gets; all of them are close-on-exec otherwise. */
export interface HookStreams {
  /** The container's state as JSON. */
  readonly stdin: number;
  readonly stdout: number;
  /** What the hook says goes into the error if it fails. */
  readonly stderr: number;
}

export interface HookContext {
  readonly streams: HookStreams;
  readonly report: number;
  /** The limit of open files to restore; absent where the process has its own limits already. */
  readonly openFiles: { readonly soft: bigint; readonly hard: bigint } | undefined;
}

/**
 * Runs a hook (runtime-spec config.md#posix-platform-hooks) and waits for its end; a status that is
 * not 0 and a timeout fail. The status is announced first. Returns the announcement.
 */
export function addHook(
  sequence: Sequence,
  hook: Hook,
  name: string,
  context: HookContext,
): Announcement {
  const deadline = new steps.Deadline(hookTimeoutMs(hook));
  const clone = steps.cloneProcess({ pidfd: deadline.pidfd });
  const pid = addHookProcess(sequence, clone, hook, name, context);
  let ended: Announcement | undefined;
  deadline.addWait(sequence, pid, name, (next, status) => {
    ended = next.announce(`${name} ended`, context.report, status);
  });
  return ended as Announcement;
}

/** A hook without a timeout may take for ever. */
export function hookTimeoutMs({ timeout }: Hook): number | undefined {
  return timeout === undefined ? undefined : timeout * 1000;
}

/** Starts a hook's process and does not wait for it. Returns its pid. */
export function addHookProcess(
  sequence: Sequence,
  clone: Step,
  hook: Hook,
  name: string,
  { streams, report, openFiles }: HookContext,
): Result {
  return sequence.clone(
    clone,
    { reportTo: report, label: `${name}: clone`, as: 'hook' },
    (child) => {
      child.addAll(steps.resetSignals());
      child.add(steps.setParentDeathSignal('SIGKILL'));
      child.add(steps.duplicate(streams.stdin, 0));
      child.add(steps.duplicate(streams.stdout, 1));
      child.add(steps.duplicate(streams.stderr, 2));
      child.add(steps.closeFrom(3, 'on exec'));
      if (openFiles !== undefined) {
        child.add(steps.setResourceLimit('RLIMIT_NOFILE', openFiles.soft, openFiles.hard));
      }
      const argv = steps.stringArray(hook.args ?? [hook.path]);
      child.add(steps.execute(hook.path, argv, steps.stringArray(hook.env ?? [])), {
        label: `${name}: exec ${hook.path}`,
      });
    },
  );
}
