/** Names and values of labels. */
export type Labels = Readonly<Record<string, string>>;

/** One line of a metric: `suffix` follows the metric's name (`_bucket`, `_sum`). */
export interface Series {
  readonly suffix?: string;
  readonly labels?: Labels;
  readonly value: number;
}

/** One metric, read when it is asked for. */
export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  series(): Iterable<Series>;
}

/** Gives metrics that are made anew for each scrape. */
export type Collector = () => Promise<readonly Metric[]> | readonly Metric[];

/** All metrics of a process. */
export class MetricRegistry {
  readonly #metrics: Metric[] = [];
  readonly #collectors: Collector[] = [];

  /** Adds a metric and returns it. Two of one name cannot be told apart and are an error. */
  add<M extends Metric>(metric: M): M {
    if (this.#metrics.some(({ name }) => name === metric.name)) {
      throw new Error(`internal error: metric ${metric.name} is there already`);
    }
    this.#metrics.push(metric);
    return metric;
  }

  /** Adds what is asked for its metrics at each scrape. */
  collect(collector: Collector): void {
    this.#collectors.push(collector);
  }

  /** The exposition text, by name (https://prometheus.io/docs/instrumenting/exposition_formats). */
  async text(): Promise<string> {
    const collected = await Promise.all(this.#collectors.map((collector) => collector()));
    return [...this.#metrics, ...collected.flat()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map(metricText)
      .join('');
  }
}

/** The type of the exposition text. */
export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

function metricText(metric: Metric): string {
  const { name, help, type } = metric;
  const lines = [...metric.series()].map(({ suffix = '', labels = {}, value }) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${escaped(text)}"`);
    return `${name}${suffix}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${numberText(value)}\n`;
  });
  if (lines.length === 0) return '';
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}
