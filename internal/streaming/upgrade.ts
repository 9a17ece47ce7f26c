/** Requests to upgrade an HTTP connection, and their refusal. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

/** The protocols that a client offers for SPDY, in its order. */
export function protocolsOf({ rawHeaders }: IncomingMessage): string[] {
  const offered: string[] = [];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    if (rawHeaders[index]?.toLowerCase() !== 'x-stream-protocol-version') continue;
    offered.push(...(rawHeaders[index + 1] ?? '').split(',').map((one) => one.trim()));
  }
  return offered.filter((one) => one !== '');
}

/** Answers a request for an upgrade with an error, and closes its connection. */
export function refuse(
  socket: Duplex,
  status: number,
  reason: string,
  text: string,
  headers = '',
): void {
  const body = `${text}\n`;
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Type: text/plain\r\n${headers}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

/** The protocols that a client offers for WebSocket, in its order (RFC 6455, section 11.3.4). */
export function webSocketProtocolsOf({ headers }: IncomingMessage): string[] {
  const offered = headers['sec-websocket-protocol'] ?? '';
  return offered
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
}
