// The tables that `make bench` prints, ready for the README.
import { cpus, release, totalmem } from 'node:os';

/** Rows of a Markdown table, the heading first. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const rule = heading.map((_, i) => (i === 0 ? '---' : '---:'));
  return [heading, rule, ...rows].map(line).join('\n');
}

/** One sentence on when and where the figures were taken. */
export function machine(): string {
  const processors = cpus();
  const model = processors[0]?.model.trim() ?? 'unknown processor';
  const gib = (totalmem() / 2 ** 30).toFixed(0);
  const date = new Date().toISOString().slice(0, 10);
  return `${date}, ${processors.length} × ${model}, ${gib} GiB, Linux ${release()}`;
}

/** Milliseconds with one decimal. */
export function ms(value: number): string {
  return `${value.toFixed(1)} ms`;
}

/** Megabytes with one decimal, from kilobytes. */
export function mb(kb: number): string {
  return `${(kb / 1024).toFixed(1)} MB`;
}
