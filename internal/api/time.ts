/** google.protobuf.Timestamp as generated code shapes it. */
export interface TimestampMessage {
  seconds: bigint;
  nanos: number;
}

/** A timestamp from nanoseconds since the epoch. */
export function timestampFromNs(ns: bigint): TimestampMessage {
  const nanos = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { seconds: (ns - nanos) / 1_000_000_000n, nanos: Number(nanos) };
}

/** Nanoseconds since the epoch. */
export function timestampToNs(timestamp: TimestampMessage): bigint {
  return timestamp.seconds * 1_000_000_000n + BigInt(timestamp.nanos);
}

/** A process that is interrupted between its two clock readings sees a step that is none; a clock that is set back is followed. */
const INTERRUPTION_NS = 1_000_000_000n;

let lastNs = 0n;
let offsetNs = 0n;

/**
 * The wall clock in nanoseconds since the epoch. Between two ticks of the millisecond clock the
 * monotonic clock fills in, so that events of one process keep their order.
 */
export function nowNs(): bigint {
  const wall = BigInt(Date.now()) * 1_000_000n;
  const monotonic = process.hrtime.bigint();
  let now = monotonic + offsetNs;
  const drift = now - wall;
  if (lastNs === 0n || drift < 0n || drift > 2_000_000n) {
    offsetNs = wall - monotonic;
    now = wall;
  }
  const isBehind = now < lastNs && lastNs - now < INTERRUPTION_NS;
  if (!isBehind) lastNs = now;
  return lastNs;
}
