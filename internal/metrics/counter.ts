import type { Labels, Metric, Series } from './registry.ts';

/** A number for each set of labels that only grows; with `type` gauge one that also falls. */
export class Counter implements Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly #series = new Map<string, { labels: Labels; value: number }>();

  constructor(name: string, help: string, type: 'counter' | 'gauge' = 'counter') {
    this.name = name;
    this.help = help;
    this.type = type;
  }

  add(labels: Labels = {}, amount = 1): void {
    const key = Object.values(labels).join('\0');
    const series = this.#series.get(key);
    if (series === undefined) this.#series.set(key, { labels, value: amount });
    else series.value += amount;
  }

  series(): Iterable<Series> {
    return this.#series.values();
  }
}
