import { TsError } from '../errors/index.ts';
import { disableOutputProcessing } from '../linux/pty.ts';

/** This process's terminal, raw as long as it is used: every key goes to the container. */
export class RawTerminal implements Disposable {
  readonly #stdin = process.stdin;

  /** Throws FailedPrecondition when standard input is no terminal. */
  constructor() {
    if (this.#stdin.isTTY !== true) {
      throw new TsError('FailedPrecondition', 'standard input is not a terminal', {
        code: 'TS_CLIENT_NO_TERMINAL',
        advice: 'leave out --tty, or run it in a terminal',
      });
    }
    this.#stdin.setRawMode(true);
    // libuv lets the terminal still put a carriage return before each line feed; the container's own has done so.
    disableOutputProcessing(this.#stdin.fd);
  }

  /** Size in characters. */
  get size(): { readonly width: number; readonly height: number } {
    const { columns = 80, rows = 24 } = process.stdout;
    return { width: columns, height: rows };
  }

  /** Calls back when the window's size changes; returns what ends it. */
  onResize(callback: () => void): () => void {
    process.on('SIGWINCH', callback);
    return () => void process.off('SIGWINCH', callback);
  }

  [Symbol.dispose](): void {
    this.#stdin.setRawMode(false);
  }
}
