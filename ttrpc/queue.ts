/**
 * Messages that have arrived and wait for a reader. It has no limit of its own: it tells how much
 * it holds, and the connection stops reading while that is too much.
 */
export class MessageQueue {
  readonly #items: Uint8Array[] = [];
  readonly #onTaken: (bytes: number) => void;
  #head = 0;
  #ended: { error: unknown } | undefined;
  #waiting: (() => void)[] = [];

  /** `onTaken` hears the length of each message that a reader has taken or the queue dropped. */
  constructor(onTaken: (bytes: number) => void) {
    this.#onTaken = onTaken;
  }

  get isEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** Adds a message; one that comes after the end is dropped. */
  push(message: Uint8Array): void {
    if (this.#ended !== undefined) {
      this.#onTaken(message.length);
      return;
    }
    this.#items.push(message);
    this.#wake();
  }

  /** No more messages will come; a reader gets those that wait, then the end or `error`. */
  end(error?: unknown): void {
    if (this.#ended !== undefined) return;
    this.#ended = { error };
    this.#wake();
  }

  /** Ends the queue and drops what waits. */
  discard(error?: unknown): void {
    const waiting = this.#items.splice(0).slice(this.#head);
    this.#head = 0;
    for (const message of waiting) this.#onTaken(message.length);
    this.end(error);
  }

  /** The next message, or undefined at the end; throws the error given to `end`. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const item = this.#items[this.#head];
      if (item !== undefined) {
        this.#head += 1;
        // The array is shortened now and then instead of shifted each time: shift is linear.
        if (this.#head === this.#items.length || this.#head === 1024) {
          this.#items.splice(0, this.#head);
          this.#head = 0;
        }
        this.#onTaken(item.length);
        return item;
      }
      if (this.#ended !== undefined) {
        if (this.#ended.error !== undefined) throw this.#ended.error;
        return undefined;
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
