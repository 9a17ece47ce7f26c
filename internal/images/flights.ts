/**
 * Lets one of several callers do a piece of work while the others wait for it: ten pulls of one
 * image fetch and unpack each layer once.
 */
export class Flights {
  readonly #running = new Map<string, Promise<unknown>>();

  /**
   * Runs `work` alone for `key`. Callers that come meanwhile wait and then run their own `work`,
   * which finds the result made, or makes it when the first caller failed or went away. A caller whose `signal`
   * is aborted waits no longer: it gets the signal's reason.
   */
  async run<T>(key: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    for (;;) {
      const running = this.#running.get(key);
      if (running === undefined) break;
      await ended(running, signal);
    }
    const flight = work();
    this.#running.set(key, flight);
    try {
      return await flight;
    } finally {
      this.#running.delete(key);
    }
  }
}

/** Waits for the end of a flight; its error is its own caller's. */
async function ended(flight: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const abort = (): void => reject(signal?.reason);
  signal?.addEventListener('abort', abort, { once: true });
  flight.then(
    () => resolve(),
    () => resolve(),
  );
  try {
    await promise;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
