import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws';
import { TsError } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import {
  COMMAND_PROTOCOLS,
  CommandStreams,
  commandOverSpdy,
  protocolVersion,
} from './command-over-spdy.ts';
import { commandOverWebSocket } from './command-over-websocket.ts';
import { IdleTimer } from './idle-timer.ts';
import { PORT_FORWARD_PROTOCOLS, PortForwardPairs } from './port-forward-over-spdy.ts';
import { portForwardOverWebSocket } from './port-forward-over-websocket.ts';
import type { KeyPair } from './self-signed-certificate.ts';
import { SpdyConnection } from './spdy-connection.ts';
import { StreamRequests } from './stream-requests.ts';
import type { CommandRequest, ProcessStreams, StreamingBackend } from './streaming-backend.ts';
import { protocolsOf, refuse, webSocketProtocolsOf } from './upgrade.ts';
import { WEBSOCKET_COMMAND_PROTOCOLS, WEBSOCKET_PORT_PROTOCOLS } from './websocket-channels.ts';

export interface StreamServerOptions {
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  /** A connection over which nothing goes so long is closed. */
  readonly idleTimeoutMs: number;
  /** What is shown to clients over TLS; without it there is none. */
  readonly certificate?: KeyPair | undefined;
  readonly backend: StreamingBackend;
  readonly log: Logger;
}

type Asked =
  | { readonly kind: 'exec' | 'attach'; readonly request: CommandRequest }
  | {
      readonly kind: 'portforward';
      readonly podSandboxId: string;
      readonly ports: readonly number[];
    };

const MAX_MESSAGE_BYTES = 1024 * 1024;
/** SPDY inside of a WebSocket, as kubectl forwards ports since Kubernetes 1.31 (KEP-4006). */
const SPDY_TUNNEL = 'SPDY/3.1+portforward.k8s.io';

/** The protocols that are spoken over WebSocket to what was asked for, the best first. */
const webSocketProtocols = (kind: Asked['kind']): readonly string[] =>
  kind === 'portforward' ? [SPDY_TUNNEL, ...WEBSOCKET_PORT_PROTOCOLS] : WEBSOCKET_COMMAND_PROTOCOLS;

/**
 * The server that Exec, Attach and PortForward of the CRI send their callers to: URLs with a token that works once,
 * spoken to by SPDY/3.1 or WebSocket (cri-streaming; Kubernetes' remotecommand and portforward protocols).
 */
export class StreamServer {
  readonly #options: StreamServerOptions;
  readonly #requests = new StreamRequests<Asked>();
  readonly #http: Server;
  readonly #sockets = new Set<Duplex>();
  readonly #tunnels = new WeakSet<IncomingMessage>();
  #listening: Promise<void> | undefined;
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    handleProtocols: (offered, { url = '' }) =>
      webSocketProtocols(url.startsWith('/portforward/') ? 'portforward' : 'exec').find((one) =>
        offered.has(one),
      ) ?? false,
  });

  constructor(options: StreamServerOptions) {
    this.#options = options;
    const answer: RequestListener = (request, response) => {
      const status = this.#isKnownPath(request) ? 400 : 404;
      response.writeHead(status, { 'content-type': 'text/plain' });
      response.end(
        status === 404
          ? '404 page not found\n'
          : 'unable to upgrade: missing upgrade headers in request\n',
      );
    };
    const { certificate } = options;
    this.#http =
      certificate === undefined ? createServer(answer) : createTlsServer(certificate, answer);
    this.#webSockets.on('headers', (headers, request) => {
      if (this.#tunnels.has(request)) headers.push(`Sec-WebSocket-Protocol: ${SPDY_TUNNEL}`);
    });
    this.#http.on('upgrade', (request, socket, head) =>
      this.#upgrade(request, socket as Socket, head),
    );
  }

  /** Begins to listen, when somebody first asks for a URL: a node that nobody executes on has no port open. */
  #listen(): Promise<void> {
    this.#listening ??= this.#open().catch((thrown: unknown) => {
      this.#listening = undefined; // the next one may find the port free
      throw thrown;
    });
    return this.#listening;
  }

  async #open(): Promise<void> {
    const { address, port } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#http.once('error', (error) =>
        reject(TsError.from(error, `listen on ${address}:${port} for streams`)),
      );
      this.#http.listen(port, address, resolve);
    });
    this.#http.unref();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (!this.#http.listening) return;
    await new Promise<void>((resolve) => this.#http.close(() => resolve()));
  }

  /** The URL at which a command's streams are served, once and soon. Throws InvalidArgument for a request without a stream. */
  async command(kind: 'exec' | 'attach', request: CommandRequest): Promise<string> {
    if (request.tty && request.stderr) {
      throw new TsError('InvalidArgument', 'tty and stderr cannot both be true');
    }
    if (!request.stdin && !request.stdout && !request.stderr) {
      throw new TsError('InvalidArgument', 'one of stdin, stdout or stderr must be set');
    }
    await this.#listen();
    return this.#url(kind, this.#requests.add({ kind, request }));
  }

  async portForward(podSandboxId: string, ports: readonly number[]): Promise<string> {
    await this.#listen();
    return this.#url(
      'portforward',
      this.#requests.add({ kind: 'portforward', podSandboxId, ports }),
    );
  }

  #url(kind: string, token: string): string {
    const { address, family, port } = this.#http.address() as AddressInfo;
    const host = family === 'IPv6' ? `[${address}]` : address;
    const scheme = this.#options.certificate === undefined ? 'http' : 'https';
    return `${scheme}://${host}:${port}/${kind}/${token}`;
  }

  #isKnownPath({ url = '' }: IncomingMessage): boolean {
    return /^\/(exec|attach|portforward)\/[\w-]+(\?|$)/.test(url);
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy()); // the client has gone
    const [, kind = '', token = ''] = /^\/(\w+)\/([\w-]+)(?:\?|$)/.exec(request.url ?? '') ?? [];
    const asked = this.#requests.take(token);
    if (asked === undefined || asked.kind !== kind) {
      refuse(socket, 404, 'Not Found', 'no such request, or it has been called for already');
      return;
    }
    const { log } = this.#options;
    const upgrade = (request.headers.upgrade ?? '').toLowerCase();
    const serving =
      upgrade === 'spdy/3.1'
        ? this.#serveSpdy(asked, request, socket, head)
        : upgrade === 'websocket'
          ? this.#serveWebSocket(asked, request, socket, head)
          : Promise.resolve(
              refuse(socket, 400, 'Bad Request', `unable to upgrade to ${JSON.stringify(upgrade)}`),
            );
    serving.catch((thrown: unknown) => {
      log.debug({ error: thrown, kind }, 'stream ended early');
      socket.destroy();
    });
  }

  async #serveSpdy(
    asked: Asked,
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
  ): Promise<void> {
    const served = asked.kind === 'portforward' ? PORT_FORWARD_PROTOCOLS : COMMAND_PROTOCOLS;
    const offered = protocolsOf(request);
    if (offered.length === 0) {
      refuse(socket, 400, 'Bad Request', 'X-Stream-Protocol-Version header is required');
      return;
    }
    const protocol = offered.find((one) => served.includes(one));
    if (protocol === undefined) {
      const accepted = served
        .map((one) => `X-Accepted-Stream-Protocol-Versions: ${one}\r\n`)
        .join('');
      refuse(
        socket,
        403,
        'Forbidden',
        `unable to upgrade: none of ${offered.join(', ')} is served`,
        accepted,
      );
      return;
    }
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n' +
        `X-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
    );
    if (head.length > 0) socket.unshift(head);
    const { idleTimeoutMs } = this.#options;
    if (idleTimeoutMs > 0) socket.setTimeout(idleTimeoutMs, () => socket.destroy());
    if (asked.kind === 'portforward') {
      await this.#forwardPorts(asked.podSandboxId, socket);
      return;
    }
    const gone = new AbortController();
    const version = protocolVersion(protocol);
    const streams = new CommandStreams(asked.request, version);
    const connection = new SpdyConnection(socket, { onStream: (stream) => streams.add(stream) });
    connection.closed.then(
      () => gone.abort(),
      () => gone.abort(),
    );
    await commandOverSpdy(
      connection,
      streams,
      asked.request,
      version,
      this.#runner(asked, gone.signal),
    );
  }

  /** Forwards ports over SPDY, until the connection is over. */
  async #forwardPorts(podSandboxId: string, carrier: Duplex): Promise<void> {
    const gone = new AbortController();
    const pairs = new PortForwardPairs(
      () => connection,
      (port, data) => this.#options.backend.portForward(podSandboxId, port, data, gone.signal),
    );
    const connection: SpdyConnection = new SpdyConnection(carrier, {
      onStream: (stream) => pairs.add(stream),
    });
    await connection.closed;
    pairs.close();
    gone.abort();
  }

  async #serveWebSocket(
    asked: Asked,
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
  ): Promise<void> {
    const offered = webSocketProtocolsOf(request);
    const served = webSocketProtocols(asked.kind);
    if (offered.length > 0 && !offered.some((one) => served.includes(one))) {
      refuse(
        socket,
        403,
        'Forbidden',
        `unable to upgrade: none of ${offered.join(', ')} is served, but ${served.join(', ')}`,
      );
      return;
    }
    const isTunnel = asked.kind === 'portforward' && offered.includes(SPDY_TUNNEL);
    // The library refuses names with a slash: it neither reads nor writes this one.
    if (isTunnel) {
      delete request.headers['sec-websocket-protocol'];
      this.#tunnels.add(request);
    }
    const webSocket = await new Promise<WebSocket>((resolve) => {
      this.#webSockets.handleUpgrade(request, socket, head, resolve);
    });
    // A client's pings keep what is between alive; they are no use of the stream.
    const idle = new IdleTimer(this.#options.idleTimeoutMs, () => webSocket.terminate());
    webSocket.on('message', () => idle.touch());
    const gone = new AbortController();
    webSocket.once('close', () => {
      idle.stop();
      gone.abort();
    });
    if (isTunnel) {
      await this.#forwardPorts(asked.podSandboxId, createWebSocketStream(webSocket));
      return;
    }
    const sent = (): void => idle.touch();
    if (asked.kind === 'portforward') {
      const { podSandboxId, ports } = asked;
      await portForwardOverWebSocket(webSocket, sent, ports, (port, data) =>
        this.#options.backend.portForward(podSandboxId, port, data, gone.signal),
      );
      return;
    }
    await commandOverWebSocket(webSocket, sent, asked.request, this.#runner(asked, gone.signal));
  }

  #runner(
    { kind, request }: Extract<Asked, { request: CommandRequest }>,
    signal: AbortSignal,
  ): (streams: ProcessStreams) => Promise<void> {
    const { backend } = this.#options;
    return (streams) =>
      kind === 'exec'
        ? backend.exec(request, streams, signal)
        : backend.attach(request, streams, signal);
  }
}
