/**
 * `delete`: takes away all that a container holds. What few containers have (processes that are left, hooks, a group of
 * resctrl, no state that can be read) is loaded when one has it.
 */
import { existsSync } from 'node:fs';
import { removeIdleCgroup } from '../cgroups/idle-cgroup.ts';
import type { ScopeName } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import { type Operation, readable, settled } from '../linux/operation.ts';
import { openPidfd } from '../linux/pidfd.ts';
import { readConfigCopy } from './config-copy.ts';
import { type ContainerState, isInitAlive, readContainerState } from './container-state.ts';
import { killProcesses } from './kill.ts';
import type { RuntimeOptions } from './runtime-options.ts';
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
    // Nothing, or what is left of a create that was killed before it wrote a state.
    if (!isGone || existsSync(statePath(options.root, id))) {
      const { removeHalfMade, removeUnreadable } = yield* settled(import('./half-made.ts'));
      yield* isGone ? removeHalfMade(options, id) : removeUnreadable(options, id);
    }
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
  if (!removeIdleCgroup(state.cgroupPaths)) {
    const { removeWithProcesses } = yield* settled(import('./container-processes.ts'));
    yield* removeWithProcesses(state);
  }
  if (state.resctrl !== undefined) {
    const { removeIntelRdt } = yield* settled(import('./intel-rdt.ts'));
    removeIntelRdt(options, state);
  }
  const config = readConfigCopy(options, state.id);
  if (config?.includes('"poststop"') !== true) {
    removeStateDirectory(options.root, state.id);
    return state.cgroupScope;
  }
  const { poststopHooks, runPoststopHooks } = yield* settled(import('./late-hooks.ts'));
  const hooks = poststopHooks(config);
  removeStateDirectory(options.root, state.id);
  yield* runPoststopHooks(options, hooks, state);
  return state.cgroupScope;
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
