import type { EventEmitter } from 'node:events';
import type { ServerOptions } from 'node:http2';
import type { Duplex, Readable } from 'node:stream';
import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import type { MethodType } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { GrpcContext, GrpcService } from '../services/context.ts';
import { CallContext } from './call-context.ts';
import { grpcStatusOf } from './grpc-status.ts';

/** Largest message by default, each way (containerd's default). */
export const DEFAULT_MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

export interface GrpcServerOptions {
  readonly maxReceiveBytes?: number;
  readonly maxSendBytes?: number;
  /** Told of each call that failed, after the client was; for logs and metrics. */
  readonly onError?: (path: string, error: unknown) => void;
  readonly observer?: CallObserver | undefined;
}

/** Told of each call and its messages; for metrics. */
export interface CallObserver {
  begin(path: string, kind: MethodType['kind']): ObservedCall;
}

export interface ObservedCall {
  received(): void;
  sent(): void;
  /** With the status of the answer. */
  ended(code: number): void;
}

/** Of a call that nobody wants to hear of. */
export const UNOBSERVED: ObservedCall = { received() {}, sent() {}, ended() {} };

/** Why a call's signal is aborted. One object: making an error for each call would cost a stack. */
const CANCELED = new TsError('Canceled', 'context canceled');

/** What a client is told whose call the daemon's end cut off. It must not read CANCELLED, which
 * clients take for their own doing: dockerd would not subscribe to events again. */
const STOPPING = new TsError('Unavailable', 'the daemon is stopping');

/** A call from its request to its status. The signal is made for handlers that look at it. */
class RunningCall {
  readonly path: string;
  readonly startedMs = performance.now();
  readonly observed: ObservedCall;
  #controller: AbortController | undefined;
  /** Whether we gave the call up, and not its client. */
  isCutOff = false;
  #isAborted = false;

  constructor(path: string, observed: ObservedCall) {
    this.path = path;
    this.observed = observed;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isAborted) this.#controller.abort(CANCELED);
    }
    return this.#controller.signal;
  }

  abort(): void {
    this.#isAborted = true;
    this.#controller?.abort(CANCELED);
  }
}

type Message = object;
type UnaryOrReadable = ServerUnaryCall<Message, Message> | ServerReadableStream<Message, Message>;
type Writing = ServerWritableStream<Message, Message> | ServerDuplexStream<Message, Message>;

/**
 * Serves ServiceHandlers over gRPC on connections that the caller accepts. Backpressure reaches
 * both ways: a response is taken from a handler only when the transport can hold it, and a request
 * is read only when the handler asks for the next one.
 */
export class GrpcServer {
  readonly #server: Server;
  readonly #injector: ReturnType<Server['createConnectionInjector']>;
  readonly #onError: (path: string, error: unknown) => void;
  readonly #observer: CallObserver | undefined;
  /** Calls that run, in the order of their start. */
  readonly #running = new Set<RunningCall>();

  constructor(options: GrpcServerOptions = {}) {
    this.#server = new Server({
      'grpc.max_receive_message_length': options.maxReceiveBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': options.maxSendBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
      'grpc.enable_channelz': 0, // keeps trace records of each call otherwise
    });
    setHttp2Options(this.#server);
    this.#injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#onError = options.onError ?? (() => undefined);
    this.#observer = options.observer;
  }

  add(service: GrpcService): void {
    for (const [key, method] of Object.entries(service.type.methods)) {
      const path = `/${service.type.typeName}/${method.name}`;
      const handler = (service.handlers as Record<string, unknown>)[key];
      if (typeof handler !== 'function') {
        throw new TsError('Internal', `internal error: ${path} has no handler`);
      }
      this.#register(path, method, handler.bind(service.handlers));
    }
  }

  /** Serves gRPC on a connection. */
  accept(connection: Duplex): void {
    this.#injector.injectConnection(connection);
  }

  /** Paths of the running calls with their age, oldest first. */
  runningCalls(): { path: string; ageMs: number }[] {
    const now = performance.now();
    return [...this.#running].map(({ path, startedMs }) => ({ path, ageMs: now - startedMs }));
  }

  /**
   * Refuses new calls. Those that run may end by themselves for `drainMs`, are then aborted (some,
   * such as subscriptions, never end by themselves), and cut off after `graceMs`.
   */
  async close(drainMs: number, graceMs: number): Promise<void> {
    this.#injector.drain(graceMs);
    const timers = [
      setTimeout(() => {
        for (const call of this.#running) {
          call.isCutOff = true;
          call.abort();
        }
      }, drainMs),
      setTimeout(() => this.#server.forceShutdown(), graceMs),
    ];
    await new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    for (const timer of timers) clearTimeout(timer);
  }

  #register(path: string, method: MethodType, handler: CallableFunction): void {
    const serialize = (message: Message): Buffer => {
      const bytes = method.output.encode(message);
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    };
    const deserialize = (bytes: Buffer): Message => method.input.decode(bytes);
    const [kind, handle] = this.#handlerOf(path, method, handler);
    this.#server.register(path, handle as never, serialize, deserialize, kind);
  }

  #handlerOf(path: string, method: MethodType, handler: CallableFunction) {
    switch (method.kind) {
      case 'unary': {
        const handle: handleUnaryCall<Message, Message> = (call, callback) => {
          const running = this.#begin(path, 'unary', call);
          running.observed.received();
          this.#answer(running, call, (context) => handler(call.request, context), callback);
        };
        return ['unary', handle] as const;
      }
      case 'client': {
        const handle: handleClientStreamingCall<Message, Message> = (call, callback) => {
          const running = this.#begin(path, 'client', call);
          const requests = requestsOf(call, running.observed);
          this.#answer(running, call, (context) => handler(requests, context), callback);
        };
        return ['clientStream', handle] as const;
      }
      case 'server': {
        const handle: handleServerStreamingCall<Message, Message> = (call) => {
          const running = this.#begin(path, 'server', call);
          running.observed.received();
          this.#stream(running, call, (context) => handler(call.request, context));
        };
        return ['serverStream', handle] as const;
      }
      case 'bidi': {
        const handle: handleBidiStreamingCall<Message, Message> = (call) => {
          const running = this.#begin(path, 'bidi', call);
          const requests = requestsOf(call, running.observed);
          this.#stream(running, call, (context) => handler(requests, context));
        };
        return ['bidi', handle] as const;
      }
    }
  }

  #begin(path: string, kind: MethodType['kind'], call: UnaryOrReadable | Writing): RunningCall {
    const running = new RunningCall(path, this.#observer?.begin(path, kind) ?? UNOBSERVED);
    this.#running.add(running);
    if (call.cancelled) running.abort();
    // Comes after the end of each call too.
    (call as EventEmitter).once('cancelled', () => {
      if (this.#running.has(running)) running.abort();
    });
    return running;
  }

  #answer(
    running: RunningCall,
    call: UnaryOrReadable,
    invoke: (context: GrpcContext) => Promise<Message>,
    callback: (error: { code: number; details: string } | null, response?: Message) => void,
  ): void {
    // An async function turns what a handler throws before its first await into a rejection too.
    (async () => invoke(new CallContext(call.metadata, running)))()
      .then(
        (response) => {
          callback(null, response);
          running.observed.sent();
          running.observed.ended(0);
        },
        (error: unknown) => {
          const status = grpcStatusOf(running.isCutOff ? STOPPING : error);
          callback(status);
          running.observed.ended(status.code);
          this.#onError(running.path, error);
        },
      )
      .finally(() => this.#running.delete(running));
  }

  #stream(
    running: RunningCall,
    call: Writing,
    invoke: (context: GrpcContext) => AsyncIterable<Message>,
  ): void {
    (async () => {
      // One message on its way while the handler makes the next: streams of large blocks would
      // otherwise fill the stream's buffer of sixteen messages.
      let previous: Promise<void> | undefined;
      for await (const response of invoke(new CallContext(call.metadata, running))) {
        await previous;
        if (call.cancelled) return;
        previous = written(call, response);
        running.observed.sent();
        previous.catch(() => undefined); // awaited in the next turn or below
      }
      await previous;
      if (running.isCutOff) throw STOPPING;
    })()
      .then(
        () => {
          call.end();
          running.observed.ended(0);
        },
        (error: unknown) => {
          const status = grpcStatusOf(running.isCutOff ? STOPPING : error);
          // Writing a status to a call that is gone would throw.
          if (!call.cancelled) call.emit('error', Object.assign(new Error(), status));
          running.observed.ended(status.code);
          this.#onError(running.path, error);
        },
      )
      .finally(() => this.#running.delete(running));
  }
}

/** Bytes that a client may send ahead on one stream: uploads of layers do not stop for each 64 KiB. */
const WINDOW_BYTES = 4 * 1024 * 1024;
/** RST_STREAM frames that a connection may send at once, and each second. */
const MAX_RESETS = 10_000_000;

/**
 * Sets options of node:http2 for which grpc-js has no name. Go's clients end a read of a part of a
 * blob by resetting its stream, thousands of times a second: with Node's limit of 1000 and then 33
 * a second the connection is closed in the middle of `ctr content get`. The limit defends servers
 * that anybody can reach (CVE-2023-44487); this socket is root's.
 */
function setHttp2Options(server: Server): void {
  const { commonServerOptions } = server as unknown as { commonServerOptions?: ServerOptions };
  if (commonServerOptions === undefined) {
    throw new TsError(
      'Internal',
      'internal error: grpc-js keeps its options for node:http2 elsewhere',
    );
  }
  Object.assign(commonServerOptions, {
    streamResetBurst: MAX_RESETS,
    streamResetRate: MAX_RESETS,
    settings: { ...commonServerOptions.settings, initialWindowSize: WINDOW_BYTES },
  } satisfies ServerOptions);
}

function written(call: Writing, response: Message): Promise<void> {
  return new Promise((resolve, reject) => {
    call.write(response, (error?: Error | null) => (error ? reject(error) : resolve()));
  });
}

/** The requests of a client stream. Leaving the loop early must not destroy the call, since the
 * response is still to be written. */
async function* requestsOf(
  call: ServerReadableStream<Message, Message> | ServerDuplexStream<Message, Message>,
  observed: ObservedCall,
): AsyncGenerator<Message, void, undefined> {
  for await (const request of (call as Readable).iterator({ destroyOnReturn: false })) {
    observed.received();
    yield request as Message;
  }
}
