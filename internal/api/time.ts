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

let lastMs = 0;
let offsetNs = 0n;

/**
 * The wall clock in nanoseconds since the epoch. Between two ticks of the millisecond clock the
 * monotonic clock fills in, so that events of one process keep their order.
 */
export function nowNs(): bigint {
  const ms = Date.now();
  const monotonic = process.hrtime.bigint();
  const wall = BigInt(ms) * 1_000_000n;
  const estimate = monotonic + offsetNs;
  const drift = estimate - wall;
  if (lastMs === 0 || drift < 0n || drift > 2_000_000n) {
    offsetNs = wall - monotonic;
    lastMs = ms;
    return wall;
  }
  return estimate;
}
