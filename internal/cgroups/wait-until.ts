const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 20;

/**
 * Blocks until `condition` holds, asking at growing intervals; false if it does not before the
 * deadline. The kernel has no event for what cgroup calls wait for here, and their callers are
 * synchronous.
 */
export function waitUntil(condition: () => boolean, deadlineMs: number): boolean {
  const end = monotonicMs() + deadlineMs;
  let sleeper: Int32Array | undefined;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    if (condition()) return true;
    const leftMs = end - monotonicMs();
    if (leftMs <= 0) return false;
    sleeper ??= new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(sleeper, 0, 0, Math.min(pauseMs, leftMs));
  }
}

/** Milliseconds of a clock that only goes forward. `performance` would load a module of 3 ms in a tsrunc of 30. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1000n) / 1000;
}
