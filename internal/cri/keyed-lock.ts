/** Lets operations on one object run one after the other, and those on different objects at once. */
export class KeyedLock {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs `body` when all earlier ones of `key` have ended, however they did. */
  async run<T>(key: string, body: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const mine = before.then(body, body);
    const settled = mine.catch(() => undefined); // told to whoever called
    this.#last.set(key, settled);
    try {
      return await mine;
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }
}
