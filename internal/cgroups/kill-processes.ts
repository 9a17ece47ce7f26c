import { TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';
import { hasErrno, signalProcesses } from './cgroup-tree.ts';

const SIGKILL = 9;
/** Freezing is only to stop forks: one that does not succeed must not hold up the kill. */
const FREEZE_DEADLINE_MS = 100;
const ROUNDS = 10;

/** A cgroup without cgroup.kill, or whose processes it does not reach. */
export interface Killable {
  allPids(): number[];
  freeze(deadlineMs: number): Operation<void>;
  isFrozen(): boolean;
  thaw(): void;
}

/**
 * Kills what is in a cgroup, one process after the other. Frozen, none can fork between the list and
 * the signal; where freezing is not to be had, the list is read until it is empty.
 */
export function* killProcesses(cgroup: Killable): Operation<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const areStill = yield* tryFreeze(cgroup);
    const pids = cgroup.allPids();
    try {
      signalProcesses(pids, SIGKILL);
    } finally {
      if (cgroup.isFrozen()) cgroup.thaw(); // with the v1 freezer the frozen cannot die
    }
    if (areStill || pids.length === 0) return;
  }
}

function* tryFreeze(cgroup: Killable): Operation<boolean> {
  try {
    yield* cgroup.freeze(FREEZE_DEADLINE_MS);
    return true;
  } catch (thrown) {
    const isTooSlow = thrown instanceof TsError && thrown.kind === 'DeadlineExceeded';
    const isMissing = thrown instanceof TsError && thrown.kind === 'FailedPrecondition';
    if (isTooSlow || isMissing || hasErrno(thrown, 'ENOENT', 'ENODEV')) return false;
    throw thrown;
  }
}
