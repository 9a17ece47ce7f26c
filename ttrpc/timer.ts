/** setTimeout fires at once for more than this, so longer times are waited for in parts. */
const LONGEST_MS = 2 ** 31 - 1;

/** Calls `callback` once after `ms` milliseconds, however many; the result stops it. */
export function startTimer(ms: number, callback: () => void): () => void {
  let left = ms;
  let timer: NodeJS.Timeout;
  const arm = (): void => {
    const part = Math.min(left, LONGEST_MS);
    left -= part;
    timer = setTimeout(() => (left > 0 ? arm() : callback()), part);
  };
  arm();
  return () => clearTimeout(timer);
}

/** A time in milliseconds as the nanoseconds of the wire; at most what an int64 holds. */
export function toTimeoutNano(ms: number): bigint {
  return BigInt(Math.min(Math.ceil(ms * 1e6), Number.MAX_SAFE_INTEGER));
}

/** Nanoseconds of the wire as milliseconds, rounded up so that a short limit is not none. */
export function fromTimeoutNano(nano: bigint): number {
  return Math.ceil(Number(nano) / 1e6);
}
