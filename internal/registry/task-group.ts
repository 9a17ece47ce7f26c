/** Work in parts that succeed or fail together. */
export interface TaskGroup {
  /** Aborted when a part fails or the caller of the whole goes away. */
  readonly signal: AbortSignal;
  /** Starts a part; the group does not end before it has. */
  start<T>(work: () => Promise<T>): Promise<T>;
}

/**
 * Runs `body` with a group. When it fails, the parts that still run are told to stop and waited for
 * before the error is passed on: nothing works on behind the back of whoever cleans up.
 */
export async function together<T>(
  signal: AbortSignal | undefined,
  body: (group: TaskGroup) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const parts = new Set<Promise<unknown>>();
  const group: TaskGroup = {
    signal: AbortSignal.any([...(signal === undefined ? [] : [signal]), controller.signal]),
    start(work) {
      const part = work();
      parts.add(part);
      // Its failure is its awaiter's; one that nobody got to await has been told of another.
      part.catch(() => undefined);
      return part;
    },
  };
  try {
    return await body(group);
  } catch (error) {
    controller.abort();
    throw error;
  } finally {
    await Promise.allSettled(parts);
  }
}
