import { type Operation, pause } from '../linux/index.ts';

const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 20;

/**
 * Waits until `condition` holds, asking at growing intervals; false if it does not before the
 * deadline. The kernel has no event for what cgroup calls wait for here.
 */
export function* waitUntil(condition: () => boolean, deadlineMs: number): Operation<boolean> {
  const end = monotonicMs() + deadlineMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    if (condition()) return true;
    const leftMs = end - monotonicMs();
    if (leftMs <= 0) return false;
    yield* pause(Math.min(pauseMs, leftMs));
  }
}

/** Milliseconds of a clock that only goes forward. `performance` would load a module of 3 ms in a tsrunc of 30. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}
