import { randomBytes } from 'node:crypto';
import { type AnyMessage, packAny, unpackAny } from '../api/any.ts';
import { StreamInit, Streaming } from '../api/generated/containerd.services.streaming.v1.ts';
import { Data, WindowUpdate } from '../api/generated/containerd.types.transfer.ts';
import type { Init } from '../api/init.ts';
import type { Client } from './client.ts';

const MAX_DATA_BYTES = 32 * 1024;
/** What the daemon may send ahead. */
const WINDOW_BYTES = 1 << 20;

/** The client's end of a stream that a transfer knows by its name (containerd core/streaming). */
export class NamedStream {
  readonly name: string;
  readonly incoming: AsyncIterator<AnyMessage>;
  readonly #queue: Queue;

  private constructor(name: string, incoming: AsyncIterator<AnyMessage>, queue: Queue) {
    this.name = name;
    this.incoming = incoming;
    this.#queue = queue;
  }

  /** Opens a stream under a new name; the daemon knows it once this resolves. */
  static async open(client: Client, purpose: string): Promise<NamedStream> {
    const name = `${purpose}-${randomBytes(8).toString('hex')}`;
    const queue = new Queue();
    queue.push(packAny(StreamInit, { id: name }));
    const messages = client.service(Streaming).stream(queue);
    const incoming = messages[Symbol.asyncIterator]() as AsyncIterator<AnyMessage>;
    await incoming.next(); // an empty message: the name is known
    return new NamedStream(name, incoming, queue);
  }

  send(message: AnyMessage): void {
    this.#queue.push(message);
  }

  close(): void {
    this.#queue.end();
  }

  /** Messages until the daemon ends the stream. */
  async *messages(): AsyncGenerator<AnyMessage, void, undefined> {
    for (;;) {
      const { done, value } = await this.incoming.next();
      if (done === true) return;
      yield value;
    }
  }

  /** The bytes that the daemon sends. */
  async *bytes(): AsyncGenerator<Uint8Array, void, undefined> {
    let window = 0;
    const grant = (): void => {
      if (window > WINDOW_BYTES / 2) return;
      window += WINDOW_BYTES;
      this.send(packAny(WindowUpdate, { update: WINDOW_BYTES }));
    };
    grant();
    for await (const message of this.messages()) {
      const data = unpackAny(message, Data)?.data;
      if (data === undefined) continue; // a kind of message of the future
      window -= data.length;
      grant();
      yield data;
    }
    this.close();
  }

  /** Sends bytes within the window that the daemon grants, and ends the stream. */
  async sendBytes(source: AsyncIterable<Uint8Array>): Promise<void> {
    let window = 0;
    try {
      for await (const chunk of source) {
        for (let at = 0; at < chunk.length; ) {
          while (window <= 0) {
            const { done, value } = await this.incoming.next();
            if (done === true) return; // the daemon wants no more: the transfer's answer says why
            window += unpackAny(value, WindowUpdate)?.update ?? 0;
          }
          const count = Math.min(MAX_DATA_BYTES, window, chunk.length - at);
          this.send(packAny(Data, { data: chunk.subarray(at, at + count) }));
          window -= count;
          at += count;
        }
      }
    } finally {
      this.close();
    }
  }
}

/** Messages that wait to be sent. */
class Queue implements AsyncIterable<Init<AnyMessage>> {
  readonly #waiting: AnyMessage[] = [];
  #isEnded = false;
  #wake: (() => void) | undefined;

  push(message: AnyMessage): void {
    this.#waiting.push(message);
    this.#wake?.();
  }

  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<AnyMessage, void, undefined> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next !== undefined) {
        yield next;
        continue;
      }
      if (this.#isEnded) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
