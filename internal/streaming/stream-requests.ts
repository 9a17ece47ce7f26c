import { randomBytes } from 'node:crypto';
import { TsError } from '../errors/index.ts';

/** A URL is for whoever asked for it, at once: it names no credentials. */
const LIFE_MS = 60_000;
const MAX_PENDING = 1000;

/** What has been asked for and not been called for yet, each behind a token that works once. */
export class StreamRequests<T> {
  readonly #pending = new Map<string, { readonly request: T; readonly expiresAtMs: number }>();
  readonly #now: () => number;

  /** `now` is a clock in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Keeps a request; returns its token. Throws ResourceExhausted when a thousand wait already. */
  add(request: T): string {
    for (const [token, { expiresAtMs }] of this.#pending) {
      if (expiresAtMs > this.#now()) break; // the oldest come first
      this.#pending.delete(token);
    }
    if (this.#pending.size >= MAX_PENDING) {
      throw new TsError(
        'ResourceExhausted',
        `streaming: ${MAX_PENDING} requests wait to be called for`,
      );
    }
    const token = randomBytes(6).toString('base64url');
    this.#pending.set(token, { request, expiresAtMs: this.#now() + LIFE_MS });
    return token;
  }

  /** The request of a token, which is used up then; undefined for one that is unknown, used or too old. */
  take(token: string): T | undefined {
    const found = this.#pending.get(token);
    this.#pending.delete(token);
    return found !== undefined && found.expiresAtMs > this.#now() ? found.request : undefined;
  }
}
