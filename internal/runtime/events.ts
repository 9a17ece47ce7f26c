import { openCgroup } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import { openPidfd, waitReadable } from '../linux/index.ts';
import { readContainerState } from './container-state.ts';
import { eventStatistics } from './event-statistics.ts';
import { intelRdtStatistics } from './intel-rdt.ts';
import { notRunning } from './kill.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { containerStatus } from './status.ts';

/** One line of `events`. */
export interface ContainerEvent {
  readonly type: 'stats' | 'oom';
  readonly id: string;
  /** Absent for oom. */
  readonly data?: unknown;
}

/** Statistics of a container, now. */
export function statisticsEvent(options: RuntimeOptions, id: string): ContainerEvent {
  const state = readContainerState(options.root, id);
  if (containerStatus(options.root, state) === 'stopped') throw notRunning(id);
  const resctrl = intelRdtStatistics(options, state);
  return { type: 'stats', id, data: eventStatistics(openCgroup(state.cgroupPaths), resctrl) };
}

/** Statistics at every interval, and each out-of-memory kill, until the container's init ends. */
export async function watchEvents(
  options: RuntimeOptions,
  id: string,
  intervalMs: number,
  onEvent: (event: ContainerEvent) => void,
): Promise<void> {
  const state = readContainerState(options.root, id);
  if (intervalMs <= 0) {
    throw new TsError('InvalidArgument', 'duration interval must be greater than 0');
  }
  using pidfd = openPidfd(state.pid);
  if (pidfd === undefined || containerStatus(options.root, state) === 'stopped') {
    throw notRunning(id);
  }
  const cgroup = openCgroup(state.cgroupPaths);
  using _oom = cgroup.watchOom(() => onEvent({ type: 'oom', id }));
  const report = (): void => {
    onEvent({
      type: 'stats',
      id,
      data: eventStatistics(cgroup, intelRdtStatistics(options, state)),
    });
  };
  const timer = setInterval(report, intervalMs);
  try {
    await waitReadable(pidfd.number);
  } finally {
    clearInterval(timer);
  }
}
