/** Calls once when nothing has been said for too long; 0 ms is never. */
export class IdleTimer {
  readonly #timer: NodeJS.Timeout | undefined;

  constructor(timeoutMs: number, onIdle: () => void) {
    if (timeoutMs > 0) this.#timer = setTimeout(onIdle, timeoutMs);
  }

  /** Something was said: the time begins anew. */
  touch(): void {
    this.#timer?.refresh();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
