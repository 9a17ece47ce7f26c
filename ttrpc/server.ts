import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import type { Limits } from './limits.ts';
import type { Request } from './messages.ts';
import type { RegisteredMethod } from './server-call.ts';
import { ServerConnection } from './server-connection.ts';
import type { Handlers, ServiceType } from './service.ts';
import { Code, type Status, TtrpcError } from './status.ts';

/** Connections the kernel keeps until they are accepted; it may allow fewer. */
const BACKLOG = 4096;

export interface TtrpcServerOptions extends Limits {
  /**
   * Decides about a new connection before anything is read from it; one whose check throws or
   * rejects is closed. The place for a look at the peer's credentials.
   */
  readonly authorize?: (socket: Socket) => void | Promise<void>;
  /** The status for what a handler has thrown; undefined leaves it to the library. */
  readonly errorToStatus?: (thrown: unknown) => Status | undefined;
  /** Calls that may run at once on one connection; more get RESOURCE_EXHAUSTED. 4096 by default. */
  readonly maxStreams?: number;
  /** Hears of refused connections and of failures to accept; for logs. */
  readonly onError?: (error: unknown) => void;
}

type Registry = Map<string, Map<string, RegisteredMethod>>;

/** Serves services on any number of listening or connected sockets. */
export class TtrpcServer {
  readonly #options: TtrpcServerOptions;
  readonly #services: Registry = new Map();
  readonly #listeners = new Set<Server>();
  readonly #connections = new Set<ServerConnection>();
  #isClosing = false;
  #onIdle: (() => void) | undefined;

  constructor(options: TtrpcServerOptions = {}) {
    this.#options = options;
  }

  /** Number of open connections. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Adds a service. Throws when one of its name has been added. */
  add<S extends ServiceType>(service: S, handlers: Handlers<S>): this {
    if (this.#services.has(service.typeName)) {
      throw new TypeError(`service ${service.typeName} is registered twice`);
    }
    const methods = new Map<string, RegisteredMethod>();
    for (const [name, method] of Object.entries(service.methods)) {
      const handler = Object.hasOwn(handlers, name)
        ? (handlers[name] as RegisteredMethod['handler'] | undefined)
        : undefined;
      if (handler === undefined) continue;
      methods.set(method.name, {
        serviceName: service.typeName,
        method,
        handler: (request, context) => handler.call(handlers, request, context),
      });
    }
    this.#services.set(service.typeName, methods);
    return this;
  }

  /**
   * Listens on a path, on an inherited descriptor that listens already (`{ fd: 3 }`), or wherever
   * node:net can. Rejects with node's error when it cannot.
   */
  async listen(target: string | ListenOptions | { fd: number }): Promise<void> {
    const listener = createServer({ allowHalfOpen: true }, (socket) => void this.accept(socket));
    await new Promise<void>((resolve, reject) => {
      listener.once('error', reject);
      const where = typeof target === 'string' ? { path: target } : target;
      listener.listen({ backlog: BACKLOG, ...where }, () => {
        listener.off('error', reject);
        resolve();
      });
    });
    listener.on('error', (error) => this.#options.onError?.(error));
    this.#listeners.add(listener);
  }

  /**
   * Serves a connected socket, which is the server's from now on. For a peer that only ends its
   * sending side to be answered, the socket must have been made with `allowHalfOpen`.
   */
  async accept(socket: Socket): Promise<void> {
    // Until the connection listens itself, an error must not become an uncaught exception.
    const ignore = (): void => {};
    socket.on('error', ignore);
    try {
      if (this.#isClosing) throw new TtrpcError(Code.UNAVAILABLE, 'server is shutting down');
      await this.#options.authorize?.(socket);
      if (this.#isClosing) throw new TtrpcError(Code.UNAVAILABLE, 'server is shutting down');
    } catch (thrown) {
      socket.destroy();
      this.#options.onError?.(thrown);
      return;
    }
    if (socket.destroyed) return;
    const connection: ServerConnection = new ServerConnection(socket, {
      ...this.#options,
      maxStreams: this.#options.maxStreams ?? 4096,
      errorToStatus: (thrown) => this.#options.errorToStatus?.(thrown),
      lookup: (request) => this.#lookup(request),
      onClosed: () => this.#forget(connection),
    });
    socket.off('error', ignore);
    this.#connections.add(connection);
  }

  /**
   * Accepts and starts nothing more, lets running calls finish for up to `graceMs` milliseconds
   * (10 s by default), then closes what is left and aborts its handlers.
   */
  async shutdown(graceMs = 10_000): Promise<void> {
    this.#stopListening();
    for (const connection of this.#connections) connection.drain();
    if (this.#connections.size === 0) return;
    const timer = setTimeout(() => this.#destroyConnections(), graceMs);
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    clearTimeout(timer);
  }

  /** Stops listening and closes every connection at once. */
  close(): void {
    this.#stopListening();
    this.#destroyConnections();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown(0);
  }

  #stopListening(): void {
    this.#isClosing = true;
    for (const listener of this.#listeners) listener.close();
    this.#listeners.clear();
  }

  #destroyConnections(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  #forget(connection: ServerConnection): void {
    this.#connections.delete(connection);
    if (this.#connections.size === 0) this.#onIdle?.();
  }

  #lookup(request: Request): RegisteredMethod {
    const service = this.#services.get(request.service);
    if (service === undefined) {
      throw new TtrpcError(Code.UNIMPLEMENTED, `service ${request.service} is not served`);
    }
    const method = service.get(request.method);
    if (method === undefined) {
      const text = `method ${request.service}/${request.method} is not served`;
      throw new TtrpcError(Code.UNIMPLEMENTED, text);
    }
    return method;
  }
}
