// A typed gRPC client for any service of internal/api: containerd's API is the same for our daemon and for the original, so
// both can be driven by it.
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { CallOptions, MethodType, ServiceClient, ServiceType } from '../api/service.ts';

/** A connection to a daemon, as a client of one containerd namespace. */
export class GrpcConnection implements Disposable {
  readonly #client: Client;
  readonly #namespace: string;

  /** Connects, when the first call is made, to the unix socket `socket`. */
  constructor(socket: string, namespace: string) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': 16 << 20,
      'grpc.max_send_message_length': 16 << 20,
      // A daemon that was restarted is found again at once.
      'grpc.initial_reconnect_backoff_ms': 50,
      'grpc.max_reconnect_backoff_ms': 200,
      // Connections are shared inside a process otherwise, and outlive a daemon's socket.
      'grpc.use_local_subchannel_pool': 1,
    });
    this.#namespace = namespace;
  }

  /** The methods of a service. A failed call rejects with a ServiceError: `code` and `details` are the server's. */
  service<S extends ServiceType>(type: S): ServiceClient<S> {
    const entries = Object.entries(type.methods).map(([key, method]) => {
      return [key, this.#caller(`/${type.typeName}/${method.name}`, method)] as const;
    });
    return Object.fromEntries(entries) as unknown as ServiceClient<S>;
  }

  close(): void {
    this.#client.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // The types of requests and answers are those of the method, which `service` promises to its caller.
  #caller(path: string, { kind, input, output }: MethodType) {
    const encode = (message: object) => Buffer.from(input.encode(message));
    const decode = (bytes: Buffer) => output.decode(bytes);
    const start = (options: CallOptions = {}) => {
      const metadata = new Metadata();
      metadata.set('containerd-namespace', this.#namespace);
      for (const [key, value] of options.metadata ?? []) metadata.add(key, value);
      const deadline =
        options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs };
      return { metadata, deadline };
    };
    const cancelWith = (call: { cancel(): void }, signal: AbortSignal | undefined) => {
      signal?.addEventListener('abort', () => call.cancel(), { once: true });
    };
    const unary = (request: object, options?: CallOptions) => {
      const { metadata, deadline } = start(options);
      return new Promise<object>((resolve, reject) => {
        const done = (error: ServiceError | null, value?: object) => {
          if (error !== null) reject(error);
          else resolve(value ?? {});
        };
        const call = this.#client.makeUnaryRequest(
          path,
          encode,
          decode,
          request,
          metadata,
          deadline,
          done,
        );
        cancelWith(call, options?.signal);
      });
    };
    const serverStream = (request: object, options?: CallOptions) => {
      const { metadata, deadline } = start(options);
      const call = this.#client.makeServerStreamRequest(
        path,
        encode,
        decode,
        request,
        metadata,
        deadline,
      );
      cancelWith(call, options?.signal);
      return call;
    };
    const bidiStream = (requests: AsyncIterable<object>, options?: CallOptions) => {
      const { metadata, deadline } = start(options);
      const call = this.#client.makeBidiStreamRequest(path, encode, decode, metadata, deadline);
      cancelWith(call, options?.signal);
      void sendAll(requests, call);
      return call;
    };
    const clientStream = (requests: AsyncIterable<object>, options?: CallOptions) => {
      const { metadata, deadline } = start(options);
      return new Promise<object>((resolve, reject) => {
        const done = (error: ServiceError | null, value?: object) => {
          if (error !== null) reject(error);
          else resolve(value ?? {});
        };
        const call = this.#client.makeClientStreamRequest(
          path,
          encode,
          decode,
          metadata,
          deadline,
          done,
        );
        cancelWith(call, options?.signal);
        void sendAll(requests, call);
      });
    };
    return { unary, server: serverStream, client: clientStream, bidi: bidiStream }[kind];
  }
}

interface RequestStream {
  write(message: object): boolean;
  end(): void;
  cancel(): void;
  once(event: 'drain' | 'close' | 'error', listener: () => void): unknown;
}

async function sendAll(requests: AsyncIterable<object>, call: RequestStream): Promise<void> {
  try {
    for await (const request of requests) {
      if (call.write(request)) continue;
      await new Promise<void>((resolve) => {
        for (const event of ['drain', 'close', 'error'] as const) call.once(event, resolve);
      });
    }
    call.end();
  } catch {
    // The source of requests broke: the server must not take what it has for the whole.
    call.cancel();
  }
}
