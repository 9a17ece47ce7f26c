/** Milliseconds since some time in the past. `performance` says the same, and loads ten modules of Node's, which an idle process would keep. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
