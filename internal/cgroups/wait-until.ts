const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 20;

/**
 * Blocks until `condition` holds, asking at growing intervals; false if it does not before the
 * deadline. The kernel has no event for what cgroup calls wait for here, and their callers are
 * synchronous.
 */
export function waitUntil(condition: () => boolean, deadlineMs: number): boolean {
  const end = performance.now() + deadlineMs;
  let sleeper: Int32Array | undefined;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    if (condition()) return true;
    const leftMs = end - performance.now();
    if (leftMs <= 0) return false;
    sleeper ??= new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(sleeper, 0, 0, Math.min(pauseMs, leftMs));
  }
}
