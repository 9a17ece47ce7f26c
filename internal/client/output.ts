import { formatJson } from '../oci/index.ts';
import { jsonOf } from './message-json.ts';
import type { TerminalStream } from './progress-display.ts';
import { type CellStyle, formatTable, SPACES } from './table.ts';

export type OutputFormat = 'table' | 'json';

/** Rows for people, and the same for programs. */
export interface Table {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly style?: CellStyle;
  /** Messages of the API, or objects of our own, one for each row. */
  readonly records: readonly object[];
}

/** Where a command's results go. */
export class Output {
  readonly format: OutputFormat;
  readonly #stdout: NodeJS.WritableStream;
  readonly #stderr: NodeJS.WritableStream;

  constructor(
    format: OutputFormat,
    stdout: NodeJS.WritableStream = process.stdout,
    stderr: NodeJS.WritableStream = process.stderr,
  ) {
    this.format = format;
    this.#stdout = stdout;
    this.#stderr = stderr;
  }

  /** A line of the result. */
  line(text: string): void {
    this.#stdout.write(`${text}\n`);
  }

  /** A part of the result, as it is. */
  write(text: string | Uint8Array): void {
    this.#stdout.write(text);
  }

  /** The same for what may be large: resolves when the reader has taken what was written before. */
  async writeSlowly(bytes: Uint8Array): Promise<void> {
    if (this.#stdout.write(bytes)) return;
    await new Promise<void>((resolve) => this.#stdout.once('drain', resolve));
  }

  /** Where progress is drawn: standard error, so that it is apart from results. */
  get terminal(): TerminalStream {
    return this.#stderr;
  }

  /** Something that is no result: a warning, an explanation. */
  note(text: string): void {
    this.#stderr.write(`${text}\n`);
  }

  /** A table, or with `--format json` an array of its records. */
  table({ header, rows, style = SPACES, records }: Table): void {
    if (this.format === 'json') this.json(records);
    else this.write(formatTable([header, ...rows], style));
  }

  /** A document of JSON, indented as ctr has it; of messages the names and forms are those of protobuf's JSON. */
  json(value: unknown): void {
    this.line(formatJson(jsonOf(value), 4));
  }
}
