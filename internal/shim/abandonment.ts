import { Code, TtrpcError } from '../../ttrpc/index.ts';

/** How long work goes on whose client has gone away. */
const ORPHAN_MS = 10_000;

/**
 * When the work for a request is to be given up: at its deadline at once. For a client that has gone
 * away it goes on for a while: a daemon that was restarted then finds the task that it had ordered;
 * only what hangs has to end.
 */
export class Abandonment implements Disposable {
  readonly #controller = new AbortController();
  readonly #request: AbortSignal;
  readonly #orphanMs: number;
  #timer: NodeJS.Timeout | undefined;

  /** `request` is the signal of the call. */
  constructor(request: AbortSignal, orphanMs = ORPHAN_MS) {
    this.#request = request;
    this.#orphanMs = orphanMs;
    if (request.aborted) this.#onAbort();
    else request.addEventListener('abort', this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Gives up now; `reason` is what the work fails with. */
  now(reason: Error): void {
    this.#controller.abort(reason);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#request.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (): void => {
    const reason: unknown = this.#request.reason;
    const isDeadline = reason instanceof TtrpcError && reason.code === Code.DEADLINE_EXCEEDED;
    if (isDeadline) this.#controller.abort(reason);
    else this.#timer = setTimeout(() => this.#controller.abort(reason), this.#orphanMs);
  };
}
