import type { TransferProgress } from './progress.ts';

const INTERVAL_MS = 100;
const CLEAR_LINE = '\x1b[2K';

/** The part of a terminal's stream that a display needs. */
export interface TerminalStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

/**
 * Draws progress over and over on a terminal, and nothing where there is none. What does not fit on the screen is left out
 * from the top.
 */
export class ProgressDisplay implements Disposable {
  readonly #stream: TerminalStream;
  readonly #progress: TransferProgress;
  readonly #timer: NodeJS.Timeout | undefined;
  #drawn = 0;

  constructor(stream: TerminalStream, progress: TransferProgress) {
    this.#stream = stream;
    this.#progress = progress;
    if (stream.isTTY === true) this.#timer = setInterval(() => this.#draw(), INTERVAL_MS);
  }

  /** Draws the last state and leaves it. */
  [Symbol.dispose](): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#draw();
  }

  #draw(): void {
    const { columns = 80, rows = 24 } = this.#stream;
    const lines = this.#progress.render(columns - 1, performance.now()).slice(-(rows - 1));
    const up = this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A`;
    const text = lines.map((line) => `${CLEAR_LINE}${line}\n`).join('');
    const below = Math.max(0, this.#drawn - lines.length);
    const rest = `${CLEAR_LINE}\n`.repeat(below) + (below === 0 ? '' : `\x1b[${below}A`);
    this.#stream.write(up + text + rest);
    this.#drawn = lines.length;
  }
}
