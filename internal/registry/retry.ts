import { setTimeout as sleep } from 'node:timers/promises';
import { TsError } from '../errors/index.ts';

export interface RetryPolicy {
  readonly attempts: number;
  /** Pause before the first repetition; doubled each time, with a random part. */
  readonly baseDelayMs: number;
  /** Longest pause, also when a server asks for a longer one. */
  readonly maxDelayMs: number;
}

export const DEFAULT_RETRY: RetryPolicy = { attempts: 5, baseDelayMs: 250, maxDelayMs: 30_000 };

/** Field of an error with the pause that a server asked for. */
export const RETRY_AFTER_MS = 'retryAfterMs';

/** Field of an Unavailable error that no later attempt changes. */
export const LASTING = 'lasting';

/**
 * Runs `work` again as long as it fails with Unavailable, which is what a later time may change.
 * `progressed` tells that a failed attempt got something done: then the count begins anew.
 */
export async function retrying<T>(
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  progressed: () => boolean = () => false,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (progressed()) attempt = 1;
      const isPassing =
        error instanceof TsError && error.kind === 'Unavailable' && error.fields[LASTING] !== true;
      if (!isPassing || attempt >= policy.attempts || signal?.aborted === true) throw error;
      const asked = error.fields[RETRY_AFTER_MS];
      const backOff = policy.baseDelayMs * 2 ** (attempt - 1) * (0.5 + Math.random());
      const delay = Math.min(typeof asked === 'number' ? asked : backOff, policy.maxDelayMs);
      await sleep(delay, undefined, signal === undefined ? {} : { signal });
    }
  }
}

/** The header Retry-After (seconds or a date) in milliseconds. */
export function retryAfterMs(header: string | undefined, nowMs: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^[0-9]{1,6}$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
