/** Requests to registries in lines of text, for who looks for what is wrong. What they give away is not shown. */
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';

/** What is told of requests, and to whom. */
export interface HttpDebug {
  /** The heads of requests and of answers. */
  readonly dumps: boolean;
  /** When a connection was made and when an answer began, in milliseconds since the request. */
  readonly traces: boolean;
  readonly say: (line: string) => void;
}

const HIDDEN = '…';

/** The head of a request as HTTP/1.1 has it. `isHarmless` tells the headers of which the value may be seen. */
export function requestHead(
  method: string,
  url: URL,
  headers: Readonly<Record<string, string>>,
  isHarmless: (name: string) => boolean,
): string[] {
  const shown = Object.entries(headers).map(([name, value]) => {
    return `${name}: ${isHarmless(name.toLowerCase()) ? value : HIDDEN}`;
  });
  return [`${method} ${pathOf(url)} HTTP/1.1`, `host: ${url.host}`, ...shown, ''];
}

/** The head of an answer. */
export function responseHead({
  httpVersion,
  statusCode,
  statusMessage,
  rawHeaders,
}: IncomingMessage): string[] {
  const lines: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [name = '', value = ''] = rawHeaders.slice(i, i + 2);
    lines.push(`${name}: ${shownValue(name.toLowerCase(), value)}`);
  }
  return [`HTTP/${httpVersion} ${statusCode} ${statusMessage}`, ...lines, ''];
}

/** Tells when a request gets a connection, and an answer. `what` is its method and URL. */
export function traceRequest(
  outgoing: ClientRequest,
  what: string,
  say: (line: string) => void,
): void {
  const startMs = performance.now();
  const tell = (event: string): void => {
    say(`${what}: ${event} after ${(performance.now() - startMs).toFixed(1)} ms`);
  };
  outgoing.once('socket', (socket) => {
    if (!socket.connecting) {
      tell('a connection that was kept');
      return;
    }
    socket.once('connect', () => tell(`connected to ${socket.remoteAddress}:${socket.remotePort}`));
    socket.once('secureConnect', () => tell((socket as TLSSocket).getProtocol() ?? 'TLS'));
  });
  outgoing.once('response', ({ statusCode }) => tell(`status ${statusCode}`));
  outgoing.once('error', ({ message }) => tell(message));
}

/** The query of a URL may hold a signature that is as good as a password. */
function pathOf({ pathname, search }: URL): string {
  return search === '' ? pathname : `${pathname}?${HIDDEN}`;
}

function shownValue(name: string, value: string): string {
  if (name === 'set-cookie') return HIDDEN;
  return name === 'location' ? value.replace(/\?.*$/, `?${HIDDEN}`) : value;
}
