import type { Labels, Metric, Series } from './registry.ts';

/** The client library's buckets for durations (https://pkg.go.dev/github.com/prometheus/client_golang). */
export const DURATION_BUCKETS_SECONDS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
] as const;

interface Observed {
  readonly labels: Labels;
  /** Of each bucket, not of those below it. */
  readonly counts: number[];
  count: number;
  sum: number;
}

/** How often a value was how large, for each set of labels. */
export class Histogram implements Metric {
  readonly name: string;
  readonly help: string;
  readonly type = 'histogram';
  readonly #bounds: readonly number[];
  readonly #observed = new Map<string, Observed>();

  constructor(name: string, help: string, bounds: readonly number[] = DURATION_BUCKETS_SECONDS) {
    this.name = name;
    this.help = help;
    this.#bounds = bounds;
  }

  observe(value: number, labels: Labels = {}): void {
    const key = Object.values(labels).join('\0');
    let observed = this.#observed.get(key);
    if (observed === undefined) {
      observed = { labels, counts: this.#bounds.map(() => 0), count: 0, sum: 0 };
      this.#observed.set(key, observed);
    }
    const bucket = this.#bounds.findIndex((bound) => value <= bound);
    if (bucket >= 0) observed.counts[bucket] = (observed.counts[bucket] ?? 0) + 1;
    observed.count++;
    observed.sum += value;
  }

  *series(): Iterable<Series> {
    for (const { labels, counts, count, sum } of this.#observed.values()) {
      let below = 0;
      for (const [index, bound] of this.#bounds.entries()) {
        below += counts[index] ?? 0;
        yield { suffix: '_bucket', labels: { ...labels, le: String(bound) }, value: below };
      }
      yield { suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count };
      yield { suffix: '_sum', labels, value: sum };
      yield { suffix: '_count', labels, value: count };
    }
  }
}
