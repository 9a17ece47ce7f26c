import { Duplex } from 'node:stream';
import { TsError } from '../errors/index.ts';
import {
  dataFrame,
  FrameReader,
  goawayFrame,
  pingFrame,
  rstStreamFrame,
  type SpdyFrame,
  synReplyFrame,
  synStreamFrame,
} from './spdy-frames.ts';
import { HeaderCodec, type SpdyHeaders } from './spdy-headers.ts';

/** Streams that a client may have open at once on one connection. */
const MAX_STREAMS = 1000;
/** Go's clients read a frame into a buffer of their own; smaller ones interleave better. */
const MAX_DATA_BYTES = 32 * 1024;
const RST_REFUSED_STREAM = 3;
const RST_CANCEL = 5;

/** One stream of a connection: bytes both ways, each way ended by itself. */
export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: SpdyHeaders;
  readonly #send: (frame: Buffer) => Promise<void>;
  #resume: (() => void) | undefined;

  constructor(id: number, headers: SpdyHeaders, send: (frame: Buffer) => Promise<void>) {
    super({ allowHalfOpen: true });
    this.id = id;
    this.headers = headers;
    this.#send = send;
    this.on('error', () => undefined); // a broken connection is told by the connection
  }

  /** Takes what has come; resolves when there is room for more. */
  async receive(data: Buffer, isLast: boolean): Promise<void> {
    if (this.destroyed) return;
    const hasRoom = data.length === 0 || this.push(data);
    if (isLast) this.push(null);
    if (hasRoom || isLast) return;
    await new Promise<void>((resolve) => {
      this.#resume = resolve;
      this.once('close', resolve);
    });
  }

  override _read(): void {
    this.#resume?.();
    this.#resume = undefined;
  }

  override _write(
    chunk: Buffer,
    _encoding: BufferEncoding,
    done: (error?: Error | null) => void,
  ): void {
    this.#sendAll(chunk).then(() => done(), done);
  }

  async #sendAll(chunk: Buffer): Promise<void> {
    for (let offset = 0; offset < chunk.length; offset += MAX_DATA_BYTES) {
      await this.#send(dataFrame(this.id, chunk.subarray(offset, offset + MAX_DATA_BYTES)));
    }
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#send(dataFrame(this.id, Buffer.alloc(0), true)).then(() => done(), done);
  }
}

export interface SpdyConnectionOptions {
  /** Called for each stream that the peer opens, before its answer is sent. Throwing refuses it. */
  readonly onStream: (stream: SpdyStream) => void;
}

/**
 * A SPDY/3.1 connection over an upgraded HTTP socket. There is no flow control by stream, since its users (Kubernetes'
 * clients) send no window updates: a slow reader of one stream slows the connection.
 */
export class SpdyConnection {
  readonly #socket: Duplex;
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #codec = new HeaderCodec();
  readonly #streams = new Map<number, SpdyStream>();
  #sending: Promise<unknown> = Promise.resolve();
  #lastStreamId = 0;
  #nextStreamId: number;
  /** Resolves when the connection is over, with the error that ended it, if any. */
  readonly closed: Promise<unknown>;

  constructor(
    socket: Duplex,
    options: SpdyConnectionOptions,
    role: 'server' | 'client' = 'server',
  ) {
    this.#socket = socket;
    this.#onStream = options.onStream;
    this.#nextStreamId = role === 'server' ? 2 : 1;
    this.closed = this.#run();
  }

  async #run(): Promise<unknown> {
    let failure: unknown;
    try {
      const reader = new FrameReader();
      for await (const chunk of this.#socket) {
        for (const frame of reader.push(chunk as Buffer)) await this.#take(frame);
      }
    } catch (thrown) {
      failure = thrown;
    }
    const error = new TsError('Unavailable', 'SPDY connection closed', { cause: failure });
    for (const stream of this.#streams.values()) stream.destroy(error);
    this.#codec.close();
    this.#socket.destroy();
    return failure;
  }

  async #take(frame: SpdyFrame): Promise<void> {
    switch (frame.kind) {
      case 'data': {
        const stream = this.#streams.get(frame.streamId);
        if (stream !== undefined) await stream.receive(frame.data, frame.isLast);
        else await this.#send(rstStreamFrame(frame.streamId, 2));
        return;
      }
      case 'syn-stream': {
        const headers = await this.#codec.decode(frame.block);
        await this.#open(frame.streamId, headers, frame.isLast);
        return;
      }
      case 'syn-reply':
      case 'headers':
        await this.#codec.decode(frame.block); // the decompressor must see every block
        if (frame.isLast) await this.#streams.get(frame.streamId)?.receive(Buffer.alloc(0), true);
        return;
      case 'rst-stream':
        this.#streams.get(frame.streamId)?.destroy();
        this.#streams.delete(frame.streamId);
        return;
      case 'ping':
        if (frame.id % 2 === this.#nextStreamId % 2) return; // the answer to one of ours
        await this.#send(pingFrame(frame.id));
        return;
      default:
        return; // what the peer says when it leaves is followed by the end of its connection
    }
  }

  async #open(id: number, headers: SpdyHeaders, isLast: boolean): Promise<void> {
    if (this.#streams.size >= MAX_STREAMS || id <= this.#lastStreamId) {
      await this.#send(rstStreamFrame(id, RST_REFUSED_STREAM));
      return;
    }
    this.#lastStreamId = id;
    const stream = this.#newStream(id, headers);
    try {
      this.#onStream(stream);
    } catch {
      // Whoever refuses it knows why; the peer only learns that it is refused.
      this.#streams.delete(id);
      stream.destroy();
      await this.#send(rstStreamFrame(id, RST_REFUSED_STREAM));
      return;
    }
    await this.#reply(id);
    if (isLast) await stream.receive(Buffer.alloc(0), true);
  }

  #newStream(id: number, headers: SpdyHeaders): SpdyStream {
    const stream = new SpdyStream(id, headers, (frame) => this.#send(frame));
    this.#streams.set(id, stream);
    stream.once('close', () => this.#streams.delete(id));
    return stream;
  }

  async #reply(id: number): Promise<void> {
    await this.#inOrder(async () => {
      await this.#write(synReplyFrame(id, await this.#codec.encode(new Map())));
    });
  }

  /** Opens a stream of our own. */
  async open(headers: SpdyHeaders): Promise<SpdyStream> {
    const id = this.#nextStreamId;
    this.#nextStreamId += 2;
    const stream = this.#newStream(id, headers);
    await this.#inOrder(async () => {
      await this.#write(synStreamFrame(id, await this.#codec.encode(headers)));
    });
    return stream;
  }

  /** Ends a stream both ways, whatever is still on its way. */
  async reset(stream: SpdyStream): Promise<void> {
    stream.destroy();
    await this.#send(rstStreamFrame(stream.id, RST_CANCEL));
  }

  /** Sends a sign of life, so that what is between does not take the connection for dead. */
  async ping(): Promise<void> {
    await this.#send(pingFrame(this.#nextStreamId));
  }

  #send(frame: Buffer): Promise<void> {
    return this.#inOrder(() => this.#write(frame));
  }

  /** Frames leave in the order in which they were made: header blocks depend on each other. */
  #inOrder(send: () => Promise<void>): Promise<void> {
    const sent = this.#sending.then(send);
    this.#sending = sent.catch(() => undefined); // told to whoever sent
    return sent;
  }

  #write(frame: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.write(frame, (error) => (error ? reject(error) : resolve()));
    });
  }

  /** Says good-bye when all that was written has left, and closes the socket. */
  async close(): Promise<void> {
    await this.#send(goawayFrame(this.#lastStreamId)).catch(() => undefined); // the peer was faster
    this.#socket.end();
  }
}
