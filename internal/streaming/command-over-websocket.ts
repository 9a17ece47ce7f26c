import type { WebSocket } from 'ws';
import { ended, protocolVersion } from './command-over-spdy.ts';
import { commandStatus } from './command-status.ts';
import type { CommandRequest, ProcessStreams } from './streaming-backend.ts';
import { TerminalSizes } from './terminal-sizes.ts';
import { WebSocketChannels } from './websocket-channels.ts';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;

/** Runs a command between the channels of a WebSocket, and says at the end how it went. */
export async function commandOverWebSocket(
  socket: WebSocket,
  sent: () => void,
  request: CommandRequest,
  run: (streams: ProcessStreams) => Promise<void>,
): Promise<void> {
  const channels = new WebSocketChannels(socket, [STDIN, STDOUT, STDERR, ERROR, RESIZE], sent);
  const channel = (isWanted: boolean, number: number) =>
    isWanted ? channels.get(number) : undefined;
  const sizes = new TerminalSizes();
  const resize = channels.get(RESIZE);
  if (resize !== undefined) sizes.follow(resize);
  const first = request.stdout ? STDOUT : request.stderr ? STDERR : ERROR;
  await channels.announce(first);
  let failure: unknown;
  try {
    await run({
      stdin: channel(request.stdin, STDIN),
      stdout: channel(request.stdout, STDOUT),
      stderr: channel(request.stderr && !request.tty, STDERR),
      hasTty: request.tty,
      onResize: (listener) => sizes.listen(listener),
    });
  } catch (thrown) {
    failure = thrown;
  }
  await ended(channels.get(STDOUT));
  await ended(channels.get(STDERR));
  await ended(channels.get(ERROR), commandStatus(failure, protocolVersion(socket.protocol)));
  channels.close();
  await channels.closed;
}
