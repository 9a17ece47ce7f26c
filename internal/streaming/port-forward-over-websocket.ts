import type { WebSocket } from 'ws';
import { TsError } from '../errors/index.ts';
import { ended } from './command-over-spdy.ts';
import { type WebSocketChannel, WebSocketChannels } from './websocket-channels.ts';

/** Forwards ports between the channels of a WebSocket: port `i` has channel 2i for bytes and 2i+1 for what goes wrong. */
export async function portForwardOverWebSocket(
  socket: WebSocket,
  sent: () => void,
  ports: readonly number[],
  forward: (port: number, data: WebSocketChannel) => Promise<void>,
): Promise<void> {
  const channels = new WebSocketChannels(
    socket,
    ports.flatMap((_, index) => [2 * index, 2 * index + 1]),
    sent,
  );
  const running = ports.map(async (port, index) => {
    const data = channels.get(2 * index);
    const error = channels.get(2 * index + 1);
    if (data === undefined || error === undefined) return;
    const head = Buffer.alloc(2);
    head.writeUInt16LE(port);
    data.write(head);
    error.write(head);
    let text = '';
    try {
      await forward(port, data);
    } catch (thrown) {
      text = `error forwarding port ${port}: ${TsError.from(thrown).text}`;
    }
    await ended(data);
    await ended(error, text);
  });
  await Promise.all(running);
  channels.close();
  await channels.closed;
}
