/** What is done to the processes of a container through its cgroup: where its init does not take all others with it. */
import { openCgroup } from '../cgroups/index.ts';
import type { Operation } from '../linux/index.ts';
import type { ContainerState } from './container-state.ts';

/**
 * Kills what outlives the init process, which `isSent` tells to have got its signal, and lets it die. False: there was nobody to
 * get any.
 */
export function* killWithCgroup(state: ContainerState, isSent: boolean): Operation<boolean> {
  const cgroup = openCgroup(state.cgroupPaths);
  let isSentNow = isSent;
  // Without a pid namespace of its own the others outlive init, and go on when it has ended.
  if (state.sharesPidNamespace && cgroup.exists() && cgroup.allPids().length > 0) {
    yield* cgroup.kill();
    isSentNow = true;
  }
  // cgroup v1 keeps even the killed frozen. Not before the signal: nothing of it shall run again.
  if (isSentNow && cgroup.exists() && cgroup.isFrozen()) cgroup.thaw();
  return isSentNow;
}

/** Removes the cgroup of a container with all that is in it. */
export function* removeWithProcesses({ cgroupPaths }: ContainerState): Operation<void> {
  const cgroup = openCgroup(cgroupPaths);
  if (!cgroup.exists()) return;
  if (cgroup.allPids().length > 0) yield* cgroup.kill();
  yield* cgroup.remove();
}
