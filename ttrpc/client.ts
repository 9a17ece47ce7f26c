import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { ClientStream } from './client-stream.ts';
import { Connection } from './connection.ts';
import { Flag, type Frame, FrameType, type OversizedFrame } from './frame.ts';
import { type Limits, resolveLimits, tooLong } from './limits.ts';
import { encodeRequest } from './messages.ts';
import { metadataPairs } from './metadata.ts';
import type { CallOptions, Calls, MethodType, ServiceType } from './service.ts';
import { Code, TtrpcError } from './status.ts';
import { startTimer, toTimeoutNano } from './timer.ts';

const LAST_STREAM_ID = 2 ** 32 - 1;
const EMPTY = new Uint8Array(0);

/**
 * The calling end of one connection. Calls may run side by side; when the connection goes, each of
 * them fails with UNAVAILABLE. There is no reconnecting: make another client.
 *
 * ttrpc cannot tell a server that a call was given up. An abort or a deadline ends the call here
 * at once; the server learns of a deadline from the request, and of an abort only when the client
 * was streaming (its stream ends) or the connection closes.
 */
export class TtrpcClient {
  readonly #connection: Connection;
  readonly #limits: Required<Limits>;
  readonly #streams = new Map<number, ClientStream>();
  #nextStreamId = 1;
  #reason: TtrpcError | undefined;
  #resolveClosed: (reason: TtrpcError) => void = () => {};

  /** Resolves when the connection is gone, with the reason. Never rejects. */
  readonly closed: Promise<TtrpcError>;

  /** Takes over a connected socket. */
  constructor(socket: Socket, limits: Limits = {}) {
    this.#limits = resolveLimits(limits);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    const sink = {
      frame: (frame: Frame) => this.#frame(frame),
      oversized: (frame: OversizedFrame) => this.#oversized(frame),
      ended: () => this.close(new TtrpcError(Code.UNAVAILABLE, 'connection closed by the server')),
      closed: (reason: TtrpcError) => this.#onClosed(reason),
    };
    this.#connection = new Connection(socket, sink, {
      maxDataLength: this.#limits.maxMessageBytes,
      maxBufferedBytes: this.#limits.maxBufferedBytes,
      throttleByWrites: false,
    });
  }

  /**
   * Connects to a socket path, or to whatever node:net can. Rejects with a TtrpcError: UNAVAILABLE
   * with node's error as the cause, CANCELLED by the signal, DEADLINE_EXCEEDED by the timeout.
   */
  static async connect(
    target: string | NetConnectOpts,
    options: Limits & Pick<CallOptions, 'signal' | 'timeoutMs'> = {},
  ): Promise<TtrpcClient> {
    const { signal, timeoutMs } = options;
    const name = typeof target === 'string' ? target : JSON.stringify(target);
    if (signal?.aborted === true) throw aborted(`connect to ${name}`, signal);
    const socket = typeof target === 'string' ? connect({ path: target }) : connect(target);
    let stopTimer = (): void => {};
    let onAbort = (): void => {};
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve);
        socket.once('error', (cause) => {
          const text = `connect to ${name}: ${(cause as NodeJS.ErrnoException).code ?? cause.message}`;
          reject(new TtrpcError(Code.UNAVAILABLE, text, { cause }));
        });
        onAbort = () => reject(aborted(`connect to ${name}`, signal));
        signal?.addEventListener('abort', onAbort);
        if (timeoutMs) stopTimer = startTimer(timeoutMs, () => reject(late(`connect to ${name}`)));
      });
    } catch (thrown) {
      socket.on('error', () => {}); // the attempt has failed already; this is its echo
      socket.destroy();
      throw thrown;
    } finally {
      stopTimer();
      signal?.removeEventListener('abort', onAbort);
    }
    socket.removeAllListeners('error');
    return new TtrpcClient(socket, options);
  }

  get isClosed(): boolean {
    return this.#reason !== undefined || this.#connection.isClosed;
  }

  /** A service as functions, one for each method. A call starts at once, read or not. */
  service<S extends ServiceType>(service: S): Calls<S> {
    const calls = Object.entries(service.methods).map(
      ([name, method]) => [name, this.#call({ service: service.typeName, method })] as const,
    );
    return Object.fromEntries(calls) as Calls<S>;
  }

  /** Closes the connection; running calls fail with `reason`, by default CANCELLED. */
  close(reason: TtrpcError = new TtrpcError(Code.CANCELLED, 'client closed')): void {
    this.#onClosed(reason);
    this.#connection.destroy(reason);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #call(path: Path): (input: never, options?: CallOptions) => unknown {
    switch (path.method.kind) {
      case 'unary':
        return async (request, options) => this.#only(path, this.#open(path, request, options));
      case 'client':
        return async (requests, options) =>
          this.#only(path, this.#openSending(path, requests, options));
      case 'server':
        return (request, options) => this.#messages(path, () => this.#open(path, request, options));
      case 'bidi':
        return (requests, options) =>
          this.#messages(path, () => this.#openSending(path, requests, options));
    }
  }

  async #only(path: Path, stream: ClientStream): Promise<unknown> {
    const bytes = await stream.output.next();
    if (bytes === undefined) {
      throw new TtrpcError(Code.INTERNAL, `${nameOf(path)}: ended without a response`);
    }
    return decode(path, bytes);
  }

  #messages(path: Path, open: () => ClientStream): AsyncIterableIterator<unknown> {
    const end = { done: true, value: undefined } as const;
    let stream: ClientStream;
    try {
      stream = open();
    } catch (thrown) {
      return {
        next: () => Promise.reject(thrown),
        [Symbol.asyncIterator]() {
          return this;
        },
      };
    }
    return {
      next: async () => {
        const bytes = await stream.output.next();
        return bytes === undefined ? end : { done: false, value: decode(path, bytes) };
      },
      return: async () => {
        stream.abandon(undefined);
        return end;
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #open(path: Path, request: never, options: CallOptions = {}): ClientStream {
    const flags = path.method.kind === 'unary' ? 0 : Flag.REMOTE_CLOSED;
    return this.#start(path, flags, path.method.input.encode(request), options, () => {});
  }

  #openSending(
    path: Path,
    requests: AsyncIterable<never>,
    options: CallOptions = {},
  ): ClientStream {
    const iterator = requests[Symbol.asyncIterator]();
    let isSending = true;
    const stream = this.#start(path, Flag.REMOTE_OPEN, undefined, options, () => {
      if (!isSending) return;
      isSending = false;
      // The call is over: tell the server not to wait for more, and the source that no more is
      // wanted. Nobody is left to hear of an error in the source's own clean-up.
      this.#endInput(stream);
      iterator.return?.().catch(() => {});
    });
    void this.#pump(path, stream, iterator).then(() => {
      if (!isSending) return;
      isSending = false;
      this.#endInput(stream);
    });
    return stream;
  }

  async #pump(path: Path, stream: ClientStream, input: AsyncIterator<never>): Promise<void> {
    try {
      while (!stream.isDone) {
        const next = await input.next();
        if (next.done === true || stream.isDone) return;
        const data = path.method.input.encode(next.value);
        if (data.length > this.#limits.maxMessageBytes) {
          throw tooLong(data.length, this.#limits.maxMessageBytes);
        }
        this.#connection.send({ streamId: stream.id, type: FrameType.DATA, flags: 0, data });
        await this.#connection.writable();
      }
    } catch (thrown) {
      stream.abandon(thrown);
    }
  }

  #endInput(stream: ClientStream): void {
    const flags = Flag.REMOTE_CLOSED | Flag.NO_DATA;
    this.#connection.send({ streamId: stream.id, type: FrameType.DATA, flags, data: EMPTY });
  }

  #start(
    path: Path,
    flags: number,
    payload: Uint8Array | undefined,
    options: CallOptions,
    onDone: () => void,
  ): ClientStream {
    const name = nameOf(path);
    const { signal, timeoutMs = 0 } = options;
    if (signal?.aborted === true) throw aborted(name, signal);
    if (this.isClosed) {
      throw this.#reason ?? new TtrpcError(Code.UNAVAILABLE, `${name}: connection closed`);
    }
    const data = encodeRequest({
      service: path.service,
      method: path.method.name,
      payload,
      timeoutNano: toTimeoutNano(timeoutMs),
      metadata: metadataPairs(options.metadata),
    });
    if (data.length > this.#limits.maxMessageBytes) {
      throw tooLong(data.length, this.#limits.maxMessageBytes);
    }
    const streamId = this.#takeStreamId();
    let stopTimer = (): void => {};
    const onAbort = (): void => stream.abandon(aborted(name, signal));
    const stream: ClientStream = new ClientStream(streamId, {
      streamsOutput: path.method.kind === 'server' || path.method.kind === 'bidi',
      onUnread: (bytes) => this.#connection.addUnread(bytes),
      onDone: () => {
        this.#streams.delete(streamId);
        stopTimer();
        signal?.removeEventListener('abort', onAbort);
        onDone();
      },
    });
    this.#streams.set(streamId, stream);
    signal?.addEventListener('abort', onAbort);
    if (timeoutMs > 0) stopTimer = startTimer(timeoutMs, () => stream.abandon(late(name)));
    this.#connection.send({ streamId, type: FrameType.REQUEST, flags, data });
    return stream;
  }

  #takeStreamId(): number {
    if (this.#nextStreamId > LAST_STREAM_ID) {
      throw new TtrpcError(Code.UNAVAILABLE, 'connection has used up its stream ids');
    }
    const id = this.#nextStreamId;
    this.#nextStreamId += 2;
    return id;
  }

  #frame(frame: Frame): void {
    const stream = this.#streams.get(frame.streamId);
    if (stream !== undefined) stream.receive(frame);
    else this.#checkForgotten(frame.streamId);
  }

  #oversized(frame: OversizedFrame): void {
    const stream = this.#streams.get(frame.streamId);
    if (stream !== undefined) stream.fail(tooLong(frame.length, this.#limits.maxMessageBytes));
    else this.#checkForgotten(frame.streamId);
  }

  /** A late answer to a call that was given up is dropped; one to a call never made is garbage. */
  #checkForgotten(streamId: number): void {
    if (streamId % 2 === 1 && streamId < this.#nextStreamId) return;
    const text = `server answered on stream ${streamId}, which was never opened`;
    this.close(new TtrpcError(Code.INTERNAL, text));
  }

  #onClosed(reason: TtrpcError): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    for (const stream of [...this.#streams.values()]) stream.fail(reason);
    this.#resolveClosed(reason);
  }
}

interface Path {
  readonly service: string;
  readonly method: MethodType;
}

function nameOf(path: Path): string {
  return `${path.service}/${path.method.name}`;
}

function decode(path: Path, bytes: Uint8Array): unknown {
  try {
    return path.method.output.decode(bytes);
  } catch (cause) {
    const text = `${nameOf(path)}: ${path.method.output.typeName}: ${(cause as Error).message}`;
    throw new TtrpcError(Code.INTERNAL, text, { cause });
  }
}

function aborted(what: string, signal: AbortSignal | undefined): TtrpcError {
  return new TtrpcError(Code.CANCELLED, `${what}: aborted`, { cause: signal?.reason });
}

function late(what: string): TtrpcError {
  return new TtrpcError(Code.DEADLINE_EXCEEDED, `${what}: deadline exceeded`);
}
