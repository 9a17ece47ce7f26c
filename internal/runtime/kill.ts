// Of internal/linux only what it needs: all of it would be read at each start of `tsrunc kill` and `delete`.
import { TsError } from '../errors/index.ts';
import { parseSignal } from '../linux/constants/signal.ts';
import { type Operation, settled } from '../linux/operation.ts';
import { openPidfd, signalPidfd } from '../linux/pidfd.ts';
import { type ContainerState, isInitAlive, readContainerState } from './container-state.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { isFrozen } from './status.ts';

const SIGKILL = 9;

/**
 * Sends a signal to the init process; SIGKILL ends all of the container, also one that is paused.
 * `all` is for containers whose processes outlive init: it is no error if it has ended.
 *
 * Throws InvalidArgument for an unknown signal, FailedPrecondition if there is nobody to get it.
 */
export function* killContainer(
  options: RuntimeOptions,
  id: string,
  signalText: string,
  { all }: { all: boolean },
): Operation<void> {
  const state = readContainerState(options.root, id);
  const signal = parseSignal(signalText);
  if (signal === undefined) {
    throw new TsError('InvalidArgument', `unknown signal ${JSON.stringify(signalText)}`, {
      code: 'TS_SIGNAL_UNKNOWN',
    });
  }
  const isSent = signal === SIGKILL ? yield* killProcesses(state) : signalInit(state, signal);
  if (!isSent && !all) throw notRunning(id);
}

/** SIGKILL to all of the container. False: none is left. */
export function* killProcesses(state: ContainerState): Operation<boolean> {
  const isSent = signalInit(state, SIGKILL);
  if (!state.sharesPidNamespace && !(isSent && isFrozen(state))) return isSent;
  const { killWithCgroup } = yield* settled(import('./container-processes.ts'));
  return yield* killWithCgroup(state, isSent);
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
