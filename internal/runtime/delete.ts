/** `delete`: takes away all that a container holds. */
import { readFileSync } from 'node:fs';
import { openCgroup } from '../cgroups/index.ts';
import { isErrno, TsError } from '../errors/index.ts';
import { parseSpec } from '../oci/index.ts';
import {
  CONFIG_COPY,
  type ContainerState,
  isInitAlive,
  readContainerState,
} from './container-state.ts';
import { runHooks } from './hooks.ts';
import { inheritedOpenFiles } from './inherited-limits.ts';
import { killProcesses } from './kill.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { hookState } from './start.ts';
import { removeStateDirectory, statePath } from './state-directory.ts';
import { containerStatus } from './status.ts';

const DEATH_DEADLINE_MS = 10_000;
const GREATEST_PAUSE_MS = 20;

/**
 * Deletes a stopped or created container; with `force` one in any state, and then it is no error if
 * there is none.
 */
export function deleteContainer(
  options: RuntimeOptions,
  id: string,
  { force }: { force: boolean },
): void {
  let state: ContainerState;
  try {
    state = readContainerState(options.root, id);
  } catch (thrown) {
    const error = TsError.from(thrown);
    const isGone = error.kind === 'NotFound';
    if (!isGone && !(force && error.kind === 'DataLoss')) throw error;
    removeStateDirectory(options.root, id); // of a create that was killed before it wrote a state
    if (force) return;
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
  if (status !== 'stopped') killAndWait(state);
  removeContainer(options, state);
}

/** Removes cgroup, state and what processes are left, then runs the poststop hooks. */
export function removeContainer(options: RuntimeOptions, state: ContainerState): void {
  const cgroup = openCgroup(state.cgroupPaths);
  if (cgroup.exists()) {
    if (cgroup.allPids().length > 0) cgroup.kill();
    cgroup.remove();
  }
  const hooks = readPoststopHooks(options, state.id);
  removeStateDirectory(options.root, state.id);
  try {
    runHooks(hooks, 'poststop', hookState(state, 'stopped'), inheritedOpenFiles());
  } catch (thrown) {
    // The container is gone whatever a hook says (runtime-spec runtime.md#lifecycle, step 13).
    options.debug(TsError.from(thrown).message);
  }
}

function readPoststopHooks(options: RuntimeOptions, id: string) {
  try {
    const text = readFileSync(statePath(options.root, id, CONFIG_COPY));
    return text.includes('"poststop"') ? parseSpec(text).hooks?.poststop : undefined;
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT')) return undefined;
    throw thrown;
  }
}

function killAndWait(state: ContainerState): void {
  killProcesses(state);
  const deadline = Date.now() + DEATH_DEADLINE_MS;
  for (let pauseMs = 1; isInitAlive(state); pauseMs = Math.min(pauseMs * 2, GREATEST_PAUSE_MS)) {
    if (Date.now() > deadline) {
      throw new TsError('DeadlineExceeded', `${state.id}: container init still running`, {
        code: 'TS_INIT_UNKILLABLE',
        advice: `look at /proc/${state.pid}/stack for what it waits for`,
      });
    }
    pause(pauseMs);
  }
}

/** Blocks this thread: nothing else happens in this process meanwhile. */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
