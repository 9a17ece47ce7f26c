import type { Request } from './messages.ts';
import { metadataMap } from './metadata.ts';
import { MessageQueue } from './queue.ts';
import type { CallContext } from './service.ts';
import { Code, TtrpcError } from './status.ts';
import { fromTimeoutNano, startTimer } from './timer.ts';

export interface ServerStreamOptions {
  hasInput: boolean;
  /** Hears how many bytes of input came to wait (negative: were taken). */
  onUnread: (bytes: number) => void;
  onDeadline: (error: TtrpcError) => void;
}

/** One call as its server sees it: its input, its deadline, and whether it has been answered. */
export class ServerStream {
  readonly id: number;
  readonly context: CallContext;
  /** Input still to be read; absent when the request holds all of it. */
  readonly input: MessageQueue | undefined;
  readonly #abort = new AbortController();
  readonly #onUnread: (bytes: number) => void;
  readonly #stopTimer: () => void;
  #isDone = false;

  constructor(id: number, request: Request, options: ServerStreamOptions) {
    this.id = id;
    this.context = { metadata: metadataMap(request.metadata), signal: this.#abort.signal };
    this.#onUnread = options.onUnread;
    this.input = options.hasInput
      ? new MessageQueue((bytes) => options.onUnread(-bytes))
      : undefined;
    const text = `${request.service}/${request.method}: deadline exceeded`;
    this.#stopTimer =
      request.timeoutNano > 0n
        ? startTimer(fromTimeoutNano(request.timeoutNano), () =>
            options.onDeadline(new TtrpcError(Code.DEADLINE_EXCEEDED, text)),
          )
        : () => {};
  }

  /** Whether the call has been answered or cannot be any more. */
  get isDone(): boolean {
    return this.#isDone;
  }

  /** Adds a message of the client's stream. */
  push(message: Uint8Array): void {
    this.#onUnread(message.length);
    this.input?.push(message);
  }

  /** Ends the call; with `reason`, a handler that is still running is told by its signal. */
  finish(reason?: TtrpcError): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.#stopTimer();
    if (reason !== undefined) this.#abort.abort(reason);
    this.input?.discard(reason);
  }
}
