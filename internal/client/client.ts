import { connect } from 'node:net';
import type { ServiceError } from '@grpc/grpc-js';
import type { CallOptions, ServiceClient, ServiceType } from '../api/service.ts';
import { ERROR_KINDS, type ErrorKind, TsError } from '../errors/index.ts';
import { GrpcConnection } from './grpc-connection.ts';

/** How a daemon is reached. */
export interface ClientOptions {
  /** Path of the socket; `unix://` before it is allowed, as containerd's configuration has it. */
  readonly address: string;
  readonly namespace: string;
  /** For the whole command; 0 for none. */
  readonly timeoutMs: number;
  /** For the connection; 0 for none. */
  readonly connectTimeoutMs: number;
}

type AnyCaller = (request: object, options?: CallOptions) => unknown;

/** A daemon as a client of one namespace sees it. What goes wrong is a TsError in the daemon's words. */
export class Client implements Disposable {
  readonly options: ClientOptions;
  readonly #connections = new Map<string, GrpcConnection>();
  readonly #deadlineMs: number;
  readonly #signal: AbortSignal;

  /** `signal` cancels every call. */
  constructor(options: ClientOptions, signal: AbortSignal) {
    this.options = { ...options, address: options.address.replace(/^unix:\/\//, '') };
    this.#deadlineMs = options.timeoutMs > 0 ? performance.now() + options.timeoutMs : Infinity;
    this.#signal = signal;
  }

  /**
   * Asks the socket whether anybody listens. Throws what a person can act on, which gRPC's own words, after its attempts, are
   * not.
   */
  async probe(): Promise<void> {
    const { address, connectTimeoutMs } = this.options;
    await new Promise<void>((resolve, reject) => {
      const socket = connect(address);
      const timer =
        connectTimeoutMs > 0
          ? setTimeout(() => socket.destroy(new Error('timed out')), connectTimeoutMs)
          : undefined;
      socket.once('connect', resolve);
      socket.once('error', reject);
      socket.once('close', () => clearTimeout(timer));
      socket.once('connect', () => socket.destroy());
    }).catch((thrown: unknown) => {
      throw connectError(address, thrown);
    });
  }

  /** The methods of a service, in this client's namespace or another one. */
  service<S extends ServiceType>(type: S, namespace = this.options.namespace): ServiceClient<S> {
    const methods = this.#connection(namespace).service(type) as unknown as Record<
      string,
      AnyCaller
    >;
    const wrapped = Object.entries(type.methods).map(([key, { kind }]) => {
      const call = methods[key] as AnyCaller;
      const isStream = kind === 'server' || kind === 'bidi';
      return [key, isStream ? this.#streaming(call) : this.#unary(call)] as const;
    });
    return Object.fromEntries(wrapped) as unknown as ServiceClient<S>;
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections.values()) connection.close();
  }

  #connection(namespace: string): GrpcConnection {
    const known = this.#connections.get(namespace);
    if (known !== undefined) return known;
    const made = new GrpcConnection(this.options.address, namespace);
    this.#connections.set(namespace, made);
    return made;
  }

  #unary(call: AnyCaller) {
    return async (request: object, options: CallOptions = {}) => {
      try {
        return await (call(request, this.#with(options)) as Promise<object>);
      } catch (thrown) {
        throw callError(thrown);
      }
    };
  }

  #streaming(call: AnyCaller) {
    return (request: object, options: CallOptions = {}) => {
      const messages = call(request, this.#with(options)) as AsyncIterable<object>;
      return withErrors(messages);
    };
  }

  #with(options: CallOptions): CallOptions {
    const signal = options.signal ?? this.#signal;
    if (this.#deadlineMs === Infinity) return { ...options, signal };
    const timeoutMs = Math.max(1, this.#deadlineMs - performance.now());
    return { timeoutMs, ...options, signal };
  }
}

async function* withErrors(messages: AsyncIterable<object>): AsyncGenerator<object, void> {
  try {
    yield* messages;
  } catch (thrown) {
    throw callError(thrown);
  }
}

const KINDS: ReadonlyMap<number, ErrorKind> = new Map(
  Object.entries(ERROR_KINDS).map(([kind, { status }]) => [status, kind as ErrorKind]),
);

/** The end of a failed call, as the text that ctr prints: the daemon's, which ends with its kind. */
function callError(thrown: unknown): TsError {
  const { code, details } = thrown as Partial<ServiceError>;
  if (!(thrown instanceof Error) || typeof code !== 'number' || details === undefined) {
    return TsError.from(thrown);
  }
  const kind = KINDS.get(code) ?? 'Unknown';
  // gRPC's own deadline, with an account of its attempts that helps nobody.
  if (/^Deadline exceeded after /.test(details)) {
    return new TsError(kind, 'no answer in time: context deadline exceeded', { cause: thrown });
  }
  const { text } = ERROR_KINDS[kind];
  const isComplete = kind === 'Unknown' || details.endsWith(text);
  return new TsError(kind, isComplete ? details : `${details}: ${text}`, { cause: thrown });
}

/** What is wrong with a socket, and what to do about it. */
export function connectError(address: string, thrown: unknown): TsError {
  const error = TsError.from(thrown, `connect ${address}`);
  const errno = error.fields['errno'];
  const advice =
    errno === 'ENOENT'
      ? 'see whether the daemon runs (systemctl status tscontainerd), or name its socket by --address or CONTAINERD_ADDRESS'
      : errno === 'EACCES'
        ? 'be root, or a member of the group that owns the socket'
        : errno === 'ECONNREFUSED'
          ? 'start the daemon: its socket is there, but nobody listens'
          : errno === 'ENOTSOCK'
            ? 'name the socket of a daemon by --address or CONTAINERD_ADDRESS: this is another file'
            : 'see whether the daemon runs, and its log';
  return new TsError(error.kind, error.message, {
    code: 'TS_CLIENT_CONNECT',
    cause: thrown,
    advice,
    fields: { ...error.fields, address },
  });
}
