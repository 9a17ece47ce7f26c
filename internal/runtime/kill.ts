import { openCgroup } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import { openPidfd, parseSignal, signalPidfd } from '../linux/index.ts';
import { type ContainerState, isInitAlive, readContainerState } from './container-state.ts';
import type { RuntimeOptions } from './runtime-options.ts';

const SIGKILL = 9;

/**
 * Sends a signal to the init process. `all` is for containers whose processes outlive it: no error
 * if it has ended, and SIGKILL goes to all that are left.
 *
 * Throws InvalidArgument for an unknown signal, FailedPrecondition if init has ended.
 */
export function killContainer(
  options: RuntimeOptions,
  id: string,
  signalText: string,
  { all }: { all: boolean },
): void {
  const signal = parseSignal(signalText);
  if (signal === undefined) {
    throw new TsError('InvalidArgument', `unknown signal ${JSON.stringify(signalText)}`, {
      code: 'TS_SIGNAL_UNKNOWN',
    });
  }
  const state = readContainerState(options.root, id);
  if (signal === SIGKILL && state.sharesPidNamespace && (all || isInitAlive(state))) {
    openCgroup(state.cgroupPaths).kill();
    return;
  }
  if (!signalInit(state, signal) && !all) throw notRunning(id);
}

/** Sends to the very process that was created, not to one that got its pid. False: it has ended. */
export function signalInit(state: ContainerState, signal: number): boolean {
  using pidfd = openPidfd(state.pid);
  return pidfd !== undefined && isInitAlive(state) && signalPidfd(pidfd, signal);
}

export function notRunning(id: string): TsError {
  return new TsError('FailedPrecondition', `${id}: container not running`, {
    code: 'TS_CONTAINER_NOT_RUNNING',
    fields: { id },
  });
}
