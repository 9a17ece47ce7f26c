import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { TsError } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import {
  COMMAND_PROTOCOLS,
  CommandStreams,
  commandOverSpdy,
  protocolVersion,
} from './command-over-spdy.ts';
import { commandOverWebSocket } from './command-over-websocket.ts';
import { PORT_FORWARD_PROTOCOLS, PortForwardPairs } from './port-forward-over-spdy.ts';
import { portForwardOverWebSocket } from './port-forward-over-websocket.ts';
import { SpdyConnection } from './spdy-connection.ts';
import { StreamRequests } from './stream-requests.ts';
import type { CommandRequest, ProcessStreams, StreamingBackend } from './streaming-backend.ts';
import { WEBSOCKET_PROTOCOLS } from './websocket-channels.ts';

export interface StreamServerOptions {
  readonly address: string;
  /** 0: any free one. */
  readonly port: number;
  /** A connection over which nothing goes so long is closed. */
  readonly idleTimeoutMs: number;
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

/**
 * The server that Exec, Attach and PortForward of the CRI send their callers to: URLs with a token that works once,
 * spoken to by SPDY/3.1 or WebSocket (cri-streaming; Kubernetes' remotecommand and portforward protocols).
 */
export class StreamServer {
  readonly #options: StreamServerOptions;
  readonly #requests = new StreamRequests<Asked>();
  readonly #http: Server;
  readonly #sockets = new Set<Duplex>();
  #listening: Promise<void> | undefined;
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    handleProtocols: (offered) => WEBSOCKET_PROTOCOLS.find((one) => offered.has(one)) ?? false,
  });

  constructor(options: StreamServerOptions) {
    this.#options = options;
    this.#http = createServer((request, response) => {
      const status = this.#isKnownPath(request) ? 400 : 404;
      response.writeHead(status, { 'content-type': 'text/plain' });
      response.end(
        status === 404
          ? '404 page not found\n'
          : 'unable to upgrade: missing upgrade headers in request\n',
      );
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
    return `http://${host}:${port}/${kind}/${token}`;
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
    const { idleTimeoutMs, log } = this.#options;
    if (idleTimeoutMs > 0) socket.setTimeout(idleTimeoutMs, () => socket.destroy());
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
    const gone = new AbortController();
    if (asked.kind === 'portforward') {
      const pairs = new PortForwardPairs(
        () => connection,
        (port, data) =>
          this.#options.backend.portForward(asked.podSandboxId, port, data, gone.signal),
      );
      const connection: SpdyConnection = new SpdyConnection(socket, {
        onStream: (stream) => pairs.add(stream),
      });
      await connection.closed;
      pairs.close();
      gone.abort();
      return;
    }
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

  async #serveWebSocket(
    asked: Asked,
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
  ): Promise<void> {
    const webSocket = await new Promise<import('ws').WebSocket>((resolve) => {
      this.#webSockets.handleUpgrade(request, socket, head, resolve);
    });
    const gone = new AbortController();
    webSocket.once('close', () => gone.abort());
    if (asked.kind === 'portforward') {
      const { podSandboxId, ports } = asked;
      await portForwardOverWebSocket(webSocket, ports, (port, data) =>
        this.#options.backend.portForward(podSandboxId, port, data, gone.signal),
      );
      return;
    }
    await commandOverWebSocket(webSocket, asked.request, this.#runner(asked, gone.signal));
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

function protocolsOf({ rawHeaders }: IncomingMessage): string[] {
  const offered: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() !== 'x-stream-protocol-version') continue;
    offered.push(...(rawHeaders[index + 1] ?? '').split(',').map((one) => one.trim()));
  }
  return offered.filter((one) => one !== '');
}

function refuse(socket: Socket, status: number, reason: string, text: string, headers = ''): void {
  const body = `${text}\n`;
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Type: text/plain\r\n${headers}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
