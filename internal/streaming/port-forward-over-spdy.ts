import { TsError } from '../errors/index.ts';
import { ended } from './command-over-spdy.ts';
import type { SpdyConnection, SpdyStream } from './spdy-connection.ts';

export const PORT_FORWARD_PROTOCOLS: readonly string[] = ['portforward.k8s.io'];
/** How long the second stream of a pair may take. */
const PAIR_TIMEOUT_MS = 30_000;

interface Pair {
  error?: SpdyStream;
  data?: SpdyStream;
  timer?: NodeJS.Timeout;
}

/** Joins the streams of forwarded connections: each has one for its bytes and one for what goes wrong. */
export class PortForwardPairs {
  readonly #connection: () => SpdyConnection;
  readonly #forward: (port: number, data: SpdyStream) => Promise<void>;
  readonly #pairs = new Map<string, Pair>();

  constructor(
    connection: () => SpdyConnection,
    forward: (port: number, data: SpdyStream) => Promise<void>,
  ) {
    this.#connection = connection;
    this.#forward = forward;
  }

  /** Takes a stream of the client; throws for one that is not of the protocol. */
  add(stream: SpdyStream): void {
    const type = stream.headers.get('streamtype');
    if (type !== 'error' && type !== 'data') {
      throw new TsError('InvalidArgument', `stream of type ${JSON.stringify(type)}`);
    }
    portOf(stream);
    const id = requestId(stream, type);
    const pair = this.#pairs.get(id) ?? {};
    if (pair[type] !== undefined)
      throw new TsError('InvalidArgument', `request ${id}: a second ${type} stream`);
    pair[type] = stream;
    this.#pairs.set(id, pair);
    const { error, data } = pair;
    if (error !== undefined && data !== undefined) {
      clearTimeout(pair.timer);
      this.#pairs.delete(id);
      this.#run(error, data).catch(() => undefined); // it tells the client itself, as long as there is one
      return;
    }
    pair.timer = setTimeout(() => {
      this.#pairs.delete(id);
      this.#connection()
        .reset(stream)
        .catch(() => undefined); // the client has gone
    }, PAIR_TIMEOUT_MS);
  }

  async #run(error: SpdyStream, data: SpdyStream): Promise<void> {
    const port = portOf(data);
    let text = '';
    try {
      await this.#forward(port, data);
    } catch (thrown) {
      text = `error forwarding port ${port}: ${TsError.from(thrown).text}`;
    }
    await ended(data);
    await ended(error, text);
    await this.#connection().reset(data);
  }

  close(): void {
    for (const { timer } of this.#pairs.values()) clearTimeout(timer);
    this.#pairs.clear();
  }
}

function portOf(stream: SpdyStream): number {
  const text = stream.headers.get('port') ?? '';
  const port = Number(text);
  if (/^[0-9]{1,5}$/.test(text) && port >= 1 && port <= 65535) return port;
  throw new TsError('InvalidArgument', `port ${JSON.stringify(text)}`);
}

/** Old clients number the streams of a pair instead of naming it: the data stream follows the error stream. */
function requestId(stream: SpdyStream, type: 'error' | 'data'): string {
  return stream.headers.get('requestid') ?? String(type === 'error' ? stream.id : stream.id - 2);
}
