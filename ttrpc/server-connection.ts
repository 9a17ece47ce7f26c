/**
 * The serving end of one connection: which stream ids are open, which handlers run, and what each
 * frame means for them. A frame that breaks the protocol is answered on its stream and the
 * connection goes on; only bytes that end within a frame close it.
 */
import type { Socket } from 'node:net';
import { Connection, type ConnectionSink } from './connection.ts';
import { Flag, type Frame, FrameType, type OversizedFrame } from './frame.ts';
import { type Limits, resolveLimits, tooLong } from './limits.ts';
import { decodeRequest, encodeResponse, type Request } from './messages.ts';
import { type RegisteredMethod, runHandler } from './server-call.ts';
import { ServerStream } from './server-stream.ts';
import { Code, type Status, statusOf, TtrpcError } from './status.ts';

/** How often a peer that has stopped sending is asked whether it still receives. */
const PROBE_INTERVAL_MS = 1000;

const EMPTY = new Uint8Array(0);

export interface ServerConnectionOptions extends Limits {
  readonly maxStreams: number;
  readonly errorToStatus: (thrown: unknown) => Status | undefined;
  readonly lookup: (request: Request) => RegisteredMethod;
  readonly onClosed: () => void;
}

export class ServerConnection implements ConnectionSink {
  readonly #options: ServerConnectionOptions;
  readonly #maxMessageBytes: number;
  readonly #connection: Connection;
  readonly #streams = new Map<number, ServerStream>();
  #lastStreamId = 0;
  /** Handlers that have not returned, those of cancelled streams included. */
  #running = 0;
  #isDraining = false;
  #prober: NodeJS.Timeout | undefined;

  constructor(socket: Socket, options: ServerConnectionOptions) {
    const limits = resolveLimits(options);
    this.#options = options;
    this.#maxMessageBytes = limits.maxMessageBytes;
    this.#connection = new Connection(socket, this, {
      maxDataLength: limits.maxMessageBytes,
      maxBufferedBytes: limits.maxBufferedBytes,
      throttleByWrites: true,
    });
  }

  /** Starts no more handlers and closes the connection when the last one has been answered. */
  drain(): void {
    this.#isDraining = true;
    if (this.#running === 0) this.#connection.end();
  }

  /** Closes at once; handlers are aborted. */
  destroy(): void {
    this.#connection.destroy();
  }

  frame(frame: Frame): void {
    switch (frame.type) {
      case FrameType.REQUEST:
        if (this.#claim(frame.streamId)) this.#request(frame);
        return;
      case FrameType.DATA:
        this.#data(frame);
        return;
      default:
        this.#refuse(
          frame.streamId,
          new TtrpcError(Code.INVALID_ARGUMENT, `frame type ${frame.type} is not for a server`),
        );
    }
  }

  oversized(frame: OversizedFrame): void {
    const error = tooLong(frame.length, this.#maxMessageBytes);
    const stream = this.#streams.get(frame.streamId);
    if (frame.type === FrameType.REQUEST) {
      if (this.#claim(frame.streamId)) this.#refuse(frame.streamId, error);
    } else if (stream !== undefined) {
      this.#fail(stream, error);
    } else {
      this.#refuse(frame.streamId, error);
    }
  }

  ended(): void {
    for (const stream of this.#streams.values()) {
      stream.input?.end(new TtrpcError(Code.CANCELLED, 'connection ended before the stream'));
    }
    this.drain();
    if (this.#connection.isClosed) return;
    this.#connection.probe();
    this.#prober = setInterval(() => this.#connection.probe(), PROBE_INTERVAL_MS);
    this.#prober.unref();
  }

  closed(reason: TtrpcError): void {
    clearInterval(this.#prober);
    this.#isDraining = true;
    for (const stream of this.#streams.values()) stream.finish(reason);
    this.#streams.clear();
    this.#options.onClosed();
  }

  /** Checks the id of a new stream and answers when it breaks the rules. */
  #claim(streamId: number): boolean {
    if (streamId % 2 === 1 && streamId > this.#lastStreamId) {
      this.#lastStreamId = streamId;
      return true;
    }
    const why = streamId % 2 === 1 ? 'is not above those before' : 'is not odd';
    this.#refuse(streamId, new TtrpcError(Code.INVALID_ARGUMENT, `stream id ${streamId} ${why}`));
    return false;
  }

  #request(frame: Frame): void {
    let request: Request;
    try {
      request = decodeRequest(frame.data);
    } catch (cause) {
      const text = `request on stream ${frame.streamId}: ${statusOf(cause).message}`;
      this.#refuse(frame.streamId, new TtrpcError(Code.INVALID_ARGUMENT, text));
      return;
    }
    try {
      if (this.#isDraining) throw new TtrpcError(Code.UNAVAILABLE, 'server is shutting down');
      if (this.#running >= this.#options.maxStreams) {
        const text = `more than ${this.#options.maxStreams} calls at once on one connection`;
        throw new TtrpcError(Code.RESOURCE_EXHAUSTED, text);
      }
      this.#start(frame, request, this.#options.lookup(request));
    } catch (thrown) {
      this.#refuse(frame.streamId, thrown);
    }
  }

  #start(frame: Frame, request: Request, registered: RegisteredMethod): void {
    const { kind } = registered.method;
    const stream = new ServerStream(frame.streamId, request, {
      hasInput: kind === 'client' || kind === 'bidi',
      onUnread: (bytes) => this.#connection.addUnread(bytes),
      onDeadline: (error) => this.#fail(stream, error),
    });
    this.#streams.set(stream.id, stream);
    if (stream.input !== undefined) {
      if (request.payload !== undefined) stream.push(request.payload);
      if ((frame.flags & Flag.REMOTE_OPEN) === 0) stream.input.end();
    }
    this.#running += 1;
    void this.#run(stream, request, registered);
  }

  async #run(stream: ServerStream, request: Request, registered: RegisteredMethod): Promise<void> {
    try {
      const sendOne = async (payload: Uint8Array): Promise<boolean> => {
        if (payload.length > this.#maxMessageBytes) {
          throw tooLong(payload.length, this.#maxMessageBytes);
        }
        if (!stream.isDone) this.#send(stream.id, FrameType.DATA, 0, payload);
        await this.#connection.writable();
        return !stream.isDone;
      };
      const last = await runHandler(registered, stream, request, sendOne);
      if (stream.isDone) return;
      if (last === undefined) {
        this.#send(stream.id, FrameType.DATA, Flag.REMOTE_CLOSED | Flag.NO_DATA, EMPTY);
      } else {
        this.#respond(stream.id, undefined, last);
      }
    } catch (thrown) {
      if (!stream.isDone) this.#refuse(stream.id, thrown);
    } finally {
      this.#running -= 1;
      this.#remove(stream);
      if (this.#isDraining && this.#running === 0) this.#connection.end();
    }
  }

  #data(frame: Frame): void {
    const { streamId, flags } = frame;
    const stream = this.#streams.get(streamId);
    if (stream === undefined) {
      // A client may still have been sending when its stream was answered: that is no mistake.
      if (streamId % 2 === 1 && streamId <= this.#lastStreamId) return;
      const text = `data on stream ${streamId}, which was never opened`;
      this.#refuse(streamId, new TtrpcError(Code.INVALID_ARGUMENT, text));
      return;
    }
    const isLast = (flags & Flag.REMOTE_CLOSED) !== 0;
    if (stream.input === undefined || stream.input.isEnded) {
      const text = `data on stream ${streamId} after its end`;
      this.#fail(stream, new TtrpcError(Code.INVALID_ARGUMENT, text));
    } else if (isLast && frame.data.length > 0) {
      const text = `the frame that ends stream ${streamId} carries data`;
      this.#fail(stream, new TtrpcError(Code.INVALID_ARGUMENT, text));
    } else if (isLast) {
      stream.input.end();
    } else if ((flags & Flag.NO_DATA) === 0) {
      stream.push(frame.data);
    }
  }

  /** Ends a stream by an error of this side's making and aborts its handler. */
  #fail(stream: ServerStream, error: TtrpcError): void {
    this.#refuse(stream.id, error);
    stream.finish(error);
    this.#remove(stream);
  }

  #remove(stream: ServerStream): void {
    stream.finish();
    if (this.#streams.get(stream.id) === stream) this.#streams.delete(stream.id);
  }

  #refuse(streamId: number, thrown: unknown): void {
    const mapped = thrown instanceof TtrpcError ? undefined : this.#options.errorToStatus(thrown);
    const status = mapped ?? statusOf(thrown);
    const code = status.code === Code.OK ? Code.UNKNOWN : status.code;
    this.#respond(streamId, { ...status, code }, EMPTY);
  }

  #respond(streamId: number, status: Status | undefined, payload: Uint8Array): void {
    const data = encodeResponse({ status, payload });
    if (data.length <= this.#maxMessageBytes) {
      this.#send(streamId, FrameType.RESPONSE, 0, data);
    } else {
      const error = statusOf(tooLong(data.length, this.#maxMessageBytes));
      const short = encodeResponse({ status: error, payload: EMPTY });
      this.#send(streamId, FrameType.RESPONSE, 0, short);
    }
  }

  #send(streamId: number, type: number, flags: number, data: Uint8Array): void {
    this.#connection.send({ streamId, type, flags, data });
  }
}
