/** `delete`: takes away all that a container holds. */
import { existsSync } from 'node:fs';
import { openCgroup, type ScopeName } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import { type Operation, openPidfd, readable } from '../linux/index.ts';
import { parseSpec } from '../oci/index.ts';
import { type ContainerState, isInitAlive, readContainerState } from './container-state.ts';
import { readConfigCopy, removeHalfMade, removeUnreadable } from './half-made.ts';
import { runHook } from './hooks.ts';
import { removeIntelRdt } from './intel-rdt.ts';
import { killProcesses } from './kill.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { hookState } from './start.ts';
import { removeStateDirectory, statePath } from './state-directory.ts';
import { containerStatus } from './status.ts';

const DEATH_DEADLINE_MS = 10_000;

/**
 * Deletes a stopped or created container; with `force` one in any state, and then it is no error if
 * there is none. Returns the scope that is left for systemd to end: see `endScope`.
 */
export function* deleteContainer(
  options: RuntimeOptions,
  id: string,
  { force }: { force: boolean },
): Operation<ScopeName | undefined> {
  let state: ContainerState;
  try {
    state = readContainerState(options.root, id);
  } catch (thrown) {
    const error = TsError.from(thrown);
    const isGone = error.kind === 'NotFound';
    if (!isGone && !(force && error.kind === 'DataLoss')) throw error;
    if (!isGone) yield* removeUnreadable(options, id);
    // Of a create that was killed before it wrote a state.
    else if (existsSync(statePath(options.root, id))) yield* removeHalfMade(options, id);
    removeStateDirectory(options.root, id);
    if (force) return undefined;
    throw error;
  }
  const status = containerStatus(options.root, state);
  if (status !== 'stopped' && status !== 'created' && !force) {
    throw new TsError(
      'FailedPrecondition',
      `cannot delete container ${id} that is not stopped: ${status}`,
      { code: 'TS_CONTAINER_RUNNING', advice: 'kill it first, or use --force', fields: { id } },
    );
  }
  if (status !== 'stopped') yield* killAndWait(state);
  return yield* removeContainer(options, state);
}

/** Removes cgroup, state and what processes are left, then runs the poststop hooks. */
export function* removeContainer(
  options: RuntimeOptions,
  state: ContainerState,
): Operation<ScopeName | undefined> {
  const cgroup = openCgroup(state.cgroupPaths);
  if (cgroup.exists()) {
    if (cgroup.allPids().length > 0) yield* cgroup.kill();
    yield* cgroup.remove();
  }
  removeIntelRdt(options, state);
  const hooks = readPoststopHooks(options, state.id);
  removeStateDirectory(options.root, state.id);
  for (const [index, hook] of (hooks ?? []).entries()) {
    try {
      yield* runHook(hook, `hooks.poststop[${index}]`, hookState(state, 'stopped'));
    } catch (thrown) {
      // The container is gone whatever a hook says, and the others run (runtime-spec runtime.md#lifecycle, step 13).
      options.debug(TsError.from(thrown).message);
    }
  }
  return state.cgroupScope;
}

function readPoststopHooks(options: RuntimeOptions, id: string) {
  const text = readConfigCopy(options, id);
  return text?.includes('"poststop"') === true ? parseSpec(text).hooks?.poststop : undefined;
}

function* killAndWait(state: ContainerState): Operation<void> {
  using pidfd = openPidfd(state.pid);
  yield* killProcesses(state);
  if (pidfd === undefined || !isInitAlive(state)) return;
  if (yield* readable(pidfd.number, DEATH_DEADLINE_MS)) return;
  throw new TsError('DeadlineExceeded', `${state.id}: container init still running`, {
    code: 'TS_INIT_UNKILLABLE',
    advice: `look at /proc/${state.pid}/stack for what it waits for`,
  });
}
