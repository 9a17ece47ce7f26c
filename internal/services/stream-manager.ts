import type { AnyMessage } from '../api/any.ts';
import { TsError } from '../errors/index.ts';
import type { Scope } from '../metadata/scope.ts';

/** The daemon's end of a stream that a client opened under a name. */
export interface NamedStream {
  /** What the client sends; ends when the client has done so. To be iterated once. */
  readonly incoming: AsyncIterable<AnyMessage>;
  /** Sends a message; resolves when it has been taken for the wire. Unavailable once closed. */
  send(message: AnyMessage): Promise<void>;
  /** Ends the stream after what was sent. */
  close(): void;
}

/**
 * Streams between clients and the daemon, by namespace and name: a client opens one with the
 * streaming service and then names it in a call, which gets its other end here.
 */
export class StreamManager {
  readonly #streams = new Map<string, OpenStream>();

  /**
   * Registers a client's stream and returns what is to be sent to it. A name that is in use is
   * AlreadyExists. The name is free again when the returned iterator ends or `signal` is aborted,
   * which it may be before anybody iterates.
   */
  open(
    scope: Scope,
    name: string,
    incoming: AsyncIterable<AnyMessage>,
    signal: AbortSignal,
  ): AsyncIterable<AnyMessage> {
    signal.throwIfAborted();
    const key = keyOf(scope, name);
    if (this.#streams.has(key)) {
      throw new TsError('AlreadyExists', `stream ${name}: already exists`);
    }
    const stream = new OpenStream(incoming, signal, () => {
      if (this.#streams.get(key) === stream) this.#streams.delete(key);
    });
    this.#streams.set(key, stream);
    return stream.outgoing();
  }

  /** The stream that a call names. Throws NotFound. */
  get(scope: Scope, name: string): NamedStream {
    const stream = this.#streams.get(keyOf(scope, name));
    if (stream === undefined) throw new TsError('NotFound', `stream ${name}: not found`);
    return stream;
  }

  /** Names of the open streams, for the dump of waits. */
  names(): string[] {
    return [...this.#streams.keys()];
  }
}

function keyOf({ namespace }: Scope, name: string): string {
  return `${namespace}/${name}`;
}

class OpenStream implements NamedStream {
  readonly incoming: AsyncIterable<AnyMessage>;
  readonly #ended: () => void;
  readonly #queue: { message: AnyMessage; sent: () => void }[] = [];
  #wake: (() => void) | undefined;
  #isClosed = false;

  constructor(incoming: AsyncIterable<AnyMessage>, signal: AbortSignal, ended: () => void) {
    this.incoming = incoming;
    this.#ended = ended;
    signal.addEventListener('abort', () => this.#end(), { once: true });
  }

  send(message: AnyMessage): Promise<void> {
    if (this.#isClosed) {
      return Promise.reject(new TsError('Unavailable', 'the client closed the stream'));
    }
    return new Promise((resolve) => {
      this.#queue.push({ message, sent: resolve });
      this.#wake?.();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#wake?.();
  }

  async *outgoing(): AsyncGenerator<AnyMessage, void, undefined> {
    try {
      for (;;) {
        const next = this.#queue.shift();
        if (next !== undefined) {
          yield next.message;
          next.sent(); // the consumer asked for more: this one is on its way
          continue;
        }
        if (this.#isClosed) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      this.#end();
    }
  }

  #end(): void {
    this.close();
    for (const { sent } of this.#queue.splice(0)) sent(); // nobody reads: nobody need wait
    this.#ended();
  }
}
