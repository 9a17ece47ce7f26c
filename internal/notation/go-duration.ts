// Durations in Go's notation (https://pkg.go.dev/time#ParseDuration), which files of containerd and flags of runc and ctr have.

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

const PART = '(\\d+\\.?\\d*|\\.\\d+)(ns|us|µs|μs|ms|s|m|h)';

/** A duration such as `1m30s`, `-1.5h` or `0` in milliseconds; undefined when the text is none. */
export function parseDurationMs(text: string): number | undefined {
  if (/^[+-]?0$/.test(text)) return 0;
  if (!new RegExp(`^[+-]?(?:${PART})+$`).test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit = ''] of text.matchAll(new RegExp(PART, 'g'))) {
    total += Number(amount) * (UNITS_MS[unit] ?? 0);
  }
  return text.startsWith('-') ? -total : total;
}

/** What is said of a value in a file that should be a duration. */
export function notDuration(value: unknown): string {
  return `must be a duration such as "5s", not ${JSON.stringify(value)}`;
}
