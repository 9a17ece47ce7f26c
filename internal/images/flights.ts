/**
 * Lets one of several callers do a piece of work while the others wait for it: ten pulls of one
 * image fetch and unpack each layer once.
 */
export class Flights {
  readonly #running = new Map<string, Promise<unknown>>();

  /**
   * Runs `work` alone for `key`. Callers that come meanwhile wait and then run their own `work`,
   * which finds the result made, or makes it when the first caller failed or went away.
   */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    for (;;) {
      const running = this.#running.get(key);
      if (running === undefined) break;
      await running.catch(() => undefined); // its error is its own caller's
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
