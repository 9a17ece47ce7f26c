import { openCgroup } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';
import { readContainerState } from './container-state.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { containerStatus } from './status.ts';

/** Stops all processes of a container until {@link resumeContainer}. */
export function* pauseContainer(options: RuntimeOptions, id: string): Operation<void> {
  const state = readContainerState(options.root, id);
  const status = containerStatus(options.root, state);
  if (status !== 'running' && status !== 'created') throw refuse(id, 'container not running');
  yield* openCgroup(state.cgroupPaths).freeze();
}

export function resumeContainer(options: RuntimeOptions, id: string): void {
  const state = readContainerState(options.root, id);
  if (containerStatus(options.root, state) !== 'paused') throw refuse(id, 'container not paused');
  openCgroup(state.cgroupPaths).thaw();
}

function refuse(id: string, problem: string): TsError {
  return new TsError('FailedPrecondition', `${id}: ${problem}`, {
    code: 'TS_CONTAINER_STATE',
    fields: { id },
  });
}
