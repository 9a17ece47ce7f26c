import type { Readable } from 'node:stream';
import type { TerminalSize } from './streaming-backend.ts';

/** More than a size of a terminal takes is none. */
const MAX_TEXT = 1024;

/** Hands on the sizes of a client's terminal; one that comes before somebody listens is kept. */
export class TerminalSizes {
  #listener: ((size: TerminalSize) => void) | undefined;
  #last: TerminalSize | undefined;
  #text = '';

  listen(listener: (size: TerminalSize) => void): void {
    this.#listener = listener;
    if (this.#last !== undefined) listener(this.#last);
  }

  /** Takes text of the resize stream: JSON objects, one after the other, which may be cut anywhere. */
  push(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf('}'); end >= 0; end = this.#text.indexOf('}')) {
      const size = parseSize(this.#text.slice(0, end + 1));
      this.#text = this.#text.slice(end + 1);
      if (size === undefined) continue;
      this.#last = size;
      this.#listener?.(size);
    }
    if (this.#text.length > MAX_TEXT) this.#text = '';
  }

  follow(stream: Readable): void {
    stream.on('data', (chunk: Buffer) => this.push(chunk.toString('utf8')));
  }
}

function parseSize(text: string): TerminalSize | undefined {
  try {
    const { Width: width, Height: height } = JSON.parse(text) as Record<string, unknown>;
    const isSize = (value: unknown): value is number =>
      typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 0xffff;
    return isSize(width) && isSize(height) ? { width, height } : undefined;
  } catch {
    return undefined; // a client that sends nonsense keeps the size that it has
  }
}
