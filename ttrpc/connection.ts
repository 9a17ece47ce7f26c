/**
 * One socket as a sequence of frames, with two bounds on memory: reading stops while messages that
 * nobody has taken exceed a limit, and a sender can wait until what it wrote has left. ttrpc has
 * no flow control by stream, so a reader that stops holds up its whole connection.
 */
import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import { encodeFrame, type Frame, FrameDecoder, type FrameSink } from './frame.ts';
import { Code, TtrpcError } from './status.ts';

export interface ConnectionSink extends FrameSink {
  /** The peer will send no more; called at most once, and not when the connection broke. */
  ended(): void;
  /** The connection is gone; called once. */
  closed(reason: TtrpcError): void;
}

export interface ConnectionOptions {
  maxDataLength: number;
  /** Bytes of unread messages, and of unsent ones, from which on the other side has to wait. */
  maxBufferedBytes: number;
  /** Whether reading stops, too, while too much waits to be sent: for the side that answers. */
  throttleByWrites: boolean;
}

export class Connection {
  readonly #socket: Socket;
  readonly #options: ConnectionOptions;
  #unread = 0;
  #reason: TtrpcError | undefined;
  #isClosed = false;
  #waiting: (() => void)[] = [];

  constructor(socket: Socket, sink: ConnectionSink, options: ConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    const decoder = new FrameDecoder(sink, options.maxDataLength);
    socket.on('data', (chunk: Buffer) => {
      decoder.push(chunk);
      this.#throttle();
    });
    socket.on('drain', () => {
      this.#throttle();
      this.#wake();
    });
    socket.on('end', () => {
      if (decoder.isAtBoundary) sink.ended();
      else this.destroy(new TtrpcError(Code.UNAVAILABLE, 'connection ended within a frame'));
    });
    socket.on('error', (error) => {
      this.#reason ??= new TtrpcError(Code.UNAVAILABLE, `connection broken: ${error.message}`, {
        cause: error,
      });
    });
    socket.on('close', () => {
      this.#isClosed = true;
      this.#wake();
      sink.closed(this.#reason ?? new TtrpcError(Code.UNAVAILABLE, 'connection closed'));
    });
  }

  get isClosed(): boolean {
    return this.#isClosed || this.#socket.destroyed || this.#socket.writableEnded;
  }

  /** Sends a frame; on a closed connection it goes nowhere. */
  send(frame: Frame): void {
    if (this.isClosed) return;
    this.#socket.write(encodeFrame(frame));
    if (this.#options.throttleByWrites) this.#throttle();
  }

  /** Waits until the sending side has room again or the connection is closed. */
  async writable(): Promise<void> {
    while (this.#socket.writableNeedDrain && !this.isClosed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Counts bytes that have been received and not taken (negative: that have been taken). */
  addUnread(bytes: number): void {
    this.#unread += bytes;
    if (bytes < 0) this.#throttle();
  }

  /**
   * Finds out whether a peer that has ended its sending side still receives: if it is gone, the
   * connection breaks. On a Unix socket the kernel answers a write of no bytes with EPIPE then.
   */
  probe(): void {
    if (!this.isClosed) this.#socket.write(Buffer.alloc(0));
  }

  /** Closes after everything sent has left. */
  end(): void {
    this.#socket.end(() => this.#socket.destroy());
  }

  /** Closes at once. */
  destroy(reason?: TtrpcError): void {
    this.#reason ??= reason;
    this.#socket.destroy();
  }

  get #hasBacklog(): boolean {
    return (
      this.#socket.writableNeedDrain && this.#socket.writableLength > this.#options.maxBufferedBytes
    );
  }

  #throttle(): void {
    const shouldWait =
      this.#unread > this.#options.maxBufferedBytes ||
      (this.#options.throttleByWrites && this.#hasBacklog);
    if (shouldWait === this.#socket.isPaused()) return;
    if (shouldWait) this.#socket.pause();
    else this.#socket.resume();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
