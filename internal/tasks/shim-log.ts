import { close, constants, fstatSync, open } from 'node:fs';
import { Socket } from 'node:net';
import { promisify } from 'node:util';
import { TsError } from '../errors/index.ts';
import { makeFifo } from '../linux/index.ts';

/** A line longer than this is passed on in parts. */
const MAX_LINE_LENGTH = 16_384;

/**
 * Reads the fifo that a shim writes its log to. A shim does not serve without the fifo, and stops
 * when it is full. It is opened for reading and writing: such an open waits for nobody, and what is
 * read has no end when the shim goes.
 */
export class ShimLog implements Disposable {
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Opens the fifo at `path`, which is made when absent, and passes each line on. */
  static async open(path: string, onLine: (line: string) => void): Promise<ShimLog> {
    try {
      makeFifo(path, 0o700);
    } catch (thrown) {
      if (!(thrown instanceof TsError) || thrown.kind !== 'AlreadyExists') throw thrown;
    }
    // No link is followed: users of the task's user namespace may enter its bundle.
    const flags = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOFOLLOW;
    let fd: number;
    try {
      fd = await promisify(open)(path, flags);
    } catch (thrown) {
      throw TsError.from(thrown, `open ${path}`);
    }
    if (!fstatSync(fd).isFIFO()) {
      close(fd);
      throw new TsError('FailedPrecondition', `open ${path}: not a fifo`);
    }
    const socket = new Socket({ fd, readable: true, writable: false });
    socket.unref();
    socket.setEncoding('utf8');
    let rest = '';
    socket.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > MAX_LINE_LENGTH) {
        lines.push(rest);
        rest = '';
      }
      for (const line of lines) if (line !== '') onLine(line);
    });
    socket.on('error', () => {}); // a log that cannot be read must not take the task with it
    return new ShimLog(socket);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/**
 * The level of a line that a shim has logged: `level=warning` of Go's shims, or the `level` of a
 * JSON object. A line without one was written by something that went wrong.
 */
export function levelOfLine(line: string): 'debug' | 'info' | 'warn' | 'error' {
  const level = /\blevel"?[=:]"?(\w+)/.exec(line)?.[1] ?? '';
  if (level === 'trace' || level === 'debug') return 'debug';
  if (level === 'info') return 'info';
  return level === '' || level.startsWith('warn') ? 'warn' : 'error';
}
