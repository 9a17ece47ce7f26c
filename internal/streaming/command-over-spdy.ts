import type { Duplex } from 'node:stream';
import { TsError } from '../errors/index.ts';
import { commandStatus } from './command-status.ts';
import type { SpdyConnection, SpdyStream } from './spdy-connection.ts';
import type { CommandRequest, ProcessStreams } from './streaming-backend.ts';
import { TerminalSizes } from './terminal-sizes.ts';

/** How long a client may take to open the streams that it asked for. */
const STREAMS_TIMEOUT_MS = 30_000;

type StreamType = 'error' | 'stdin' | 'stdout' | 'stderr' | 'resize';

/**
 * The versions of the remotecommand protocol that are served over SPDY, the best first. Version 5 is 4 there: what it adds
 * to WebSocket, the end of one stream, SPDY has had from the beginning.
 */
export const COMMAND_PROTOCOLS: readonly string[] = [
  'v5.channel.k8s.io',
  'v4.channel.k8s.io',
  'v3.channel.k8s.io',
  'v2.channel.k8s.io',
  'channel.k8s.io',
];

/** The number of a protocol: 4 for `v4.channel.k8s.io`, 1 for one without. */
export function protocolVersion(protocol: string): number {
  return Number(/^v([0-9])\./.exec(protocol)?.[1] ?? 1);
}

/** Collects the streams of one command. */
export class CommandStreams {
  readonly #wanted: ReadonlySet<StreamType>;
  readonly #streams = new Map<StreamType, SpdyStream>();
  readonly #complete = Promise.withResolvers<void>();

  constructor(request: CommandRequest, version: number) {
    const wanted = new Set<StreamType>(['error']);
    if (request.stdin) wanted.add('stdin');
    if (request.stdout) wanted.add('stdout');
    if (request.stderr && !request.tty) wanted.add('stderr');
    if (request.tty && version >= 3) wanted.add('resize');
    this.#wanted = wanted;
  }

  /** Takes a stream that the client has opened; refuses one that was not asked for. */
  add(stream: SpdyStream): void {
    const type = stream.headers.get('streamtype') as StreamType;
    if (!this.#wanted.has(type) || this.#streams.has(type)) {
      throw new TsError('InvalidArgument', `stream of type ${JSON.stringify(type)}`);
    }
    this.#streams.set(type, stream);
    if (this.#streams.size === this.#wanted.size) this.#complete.resolve();
  }

  /** Resolves when all are there. Throws DeadlineExceeded. */
  async complete(): Promise<void> {
    const timer = setTimeout(
      () =>
        this.#complete.reject(
          new TsError('DeadlineExceeded', 'client has not opened its streams in 30 s'),
        ),
      STREAMS_TIMEOUT_MS,
    );
    try {
      await this.#complete.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  get(type: StreamType): SpdyStream | undefined {
    return this.#streams.get(type);
  }
}

/** Runs a command between the streams of a SPDY connection, and says at the end how it went. */
export async function commandOverSpdy(
  connection: SpdyConnection,
  streams: CommandStreams,
  request: CommandRequest,
  version: number,
  run: (streams: ProcessStreams) => Promise<void>,
): Promise<void> {
  await streams.complete();
  const sizes = new TerminalSizes();
  const resize = streams.get('resize');
  if (resize !== undefined) sizes.follow(resize);
  let failure: unknown;
  try {
    await run({
      stdin: streams.get('stdin'),
      stdout: streams.get('stdout'),
      stderr: streams.get('stderr'),
      hasTty: request.tty,
      onResize: (listener) => sizes.listen(listener),
    });
  } catch (thrown) {
    failure = thrown;
  }
  await ended(streams.get('stdout'));
  await ended(streams.get('stderr'));
  await ended(streams.get('error'), commandStatus(failure, version));
  await connection.close();
}

/** Writes the last of a stream and ends it; one that the client has closed is at its end. */
export async function ended(stream: Duplex | undefined, last = ''): Promise<void> {
  if (stream === undefined || stream.destroyed || stream.writableEnded) return;
  await new Promise<void>((resolve) => {
    stream.once('close', resolve);
    if (last === '') stream.end(() => resolve());
    else stream.end(last, () => resolve());
  });
}
