import { Flag, type Frame, FrameType } from './frame.ts';
import { decodeResponse } from './messages.ts';
import { MessageQueue } from './queue.ts';
import { Code, statusOf, TtrpcError } from './status.ts';

export interface ClientStreamOptions {
  /** Whether output comes as data frames; otherwise it is one response. */
  streamsOutput: boolean;
  /** Hears how many bytes of output came to wait (negative: were taken). */
  onUnread: (bytes: number) => void;
  /** Called once, when the call is over: by the server's answer, or by this side giving up. */
  onDone: () => void;
}

/** One call as its client sees it: what has arrived, and whether it is over. */
export class ClientStream {
  readonly id: number;
  readonly output: MessageQueue;
  readonly #options: ClientStreamOptions;
  #isDone = false;

  constructor(id: number, options: ClientStreamOptions) {
    this.id = id;
    this.#options = options;
    this.output = new MessageQueue((bytes) => options.onUnread(-bytes));
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  /** Takes a frame of this stream. */
  receive(frame: Frame): void {
    if (frame.type === FrameType.RESPONSE) this.#response(frame.data);
    else if (frame.type === FrameType.DATA) this.#data(frame);
    else this.fail(protocolError(frame, `type ${frame.type} is not for a client`));
  }

  /** Ends the call by an error, which comes after the messages that have arrived. */
  fail(error: unknown): void {
    if (this.#isDone) return;
    this.#done();
    this.output.end(error);
  }

  /** Gives the call up: messages that have not been read are dropped. */
  abandon(error: unknown): void {
    if (!this.#isDone) this.#done();
    this.output.discard(error);
  }

  #response(data: Uint8Array): void {
    try {
      const { status, payload } = decodeResponse(data);
      if (status !== undefined && status.code !== Code.OK) {
        this.fail(TtrpcError.fromStatus(status));
        return;
      }
      if (payload.length > 0 || !this.#options.streamsOutput) this.#push(payload);
    } catch (cause) {
      const text = `response on stream ${this.id}: ${statusOf(cause).message}`;
      this.fail(new TtrpcError(Code.INTERNAL, text, { cause }));
      return;
    }
    this.#done();
    this.output.end();
  }

  #data(frame: Frame): void {
    if (!this.#options.streamsOutput) {
      this.fail(protocolError(frame, 'data where one response was due'));
      return;
    }
    if ((frame.flags & Flag.NO_DATA) === 0) this.#push(frame.data);
    if ((frame.flags & Flag.REMOTE_CLOSED) === 0) return;
    this.#done();
    this.output.end();
  }

  #push(message: Uint8Array): void {
    this.#options.onUnread(message.length);
    this.output.push(message);
  }

  #done(): void {
    this.#isDone = true;
    this.#options.onDone();
  }
}

function protocolError(frame: Frame, what: string): TtrpcError {
  return new TtrpcError(Code.INTERNAL, `frame on stream ${frame.streamId}: ${what}`);
}
