/**
 * Bytes over a named stream (containerd core/transfer/streaming): the receiver grants a window, the
 * sender stays within it, in messages of at most 32 KiB.
 */
import { packAny, unpackAny } from '../api/any.ts';
import { Data, WindowUpdate } from '../api/generated/containerd.types.transfer.ts';
import type { NamedStream } from './stream-manager.ts';

const MAX_DATA_BYTES = 32 * 1024;
/**
 * What the daemon lets a client send ahead. containerd grants 64 KiB, a round trip for every two
 * messages; gRPC's own flow control bounds memory in any case.
 */
const WINDOW_BYTES = 1 << 20;

/** The bytes that a client sends, until it closes the stream. */
export async function* receiveBytes(stream: NamedStream): AsyncGenerator<Buffer, void, undefined> {
  let window = 0;
  const grant = (): void => {
    if (window > WINDOW_BYTES / 2) return;
    window += WINDOW_BYTES;
    // Not awaited: the client may have closed its side already, and then needs no window.
    stream.send(packAny(WindowUpdate, { update: WINDOW_BYTES })).catch(() => undefined);
  };
  try {
    grant();
    for await (const message of stream.incoming) {
      const data = unpackAny(message, Data)?.data;
      if (data === undefined) continue; // a kind of message of the future
      window -= data.length;
      grant();
      yield Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    }
  } finally {
    stream.close();
  }
}

/** Sends bytes to a client within the window that it grants, and closes the stream. */
export async function sendBytes(
  stream: NamedStream,
  source: AsyncIterable<Uint8Array>,
): Promise<void> {
  const window = new Window(stream);
  try {
    for await (const chunk of source) {
      for (let at = 0; at < chunk.length; ) {
        const room = await window.take(Math.min(MAX_DATA_BYTES, chunk.length - at));
        await stream.send(packAny(Data, { data: chunk.subarray(at, at + room) }));
        at += room;
      }
    }
  } finally {
    stream.close();
  }
}

/** How much may be sent: what the client's window updates add up to. */
class Window {
  #bytes = 0;
  #isEnded = false;
  #wake: (() => void) | undefined;

  constructor(stream: NamedStream) {
    void this.#read(stream);
  }

  /** Waits until something may be sent and takes at most `wanted` bytes of the window. */
  async take(wanted: number): Promise<number> {
    while (this.#bytes <= 0 && !this.#isEnded) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    // A client that has gone grants nothing more: the send that follows says so.
    const taken = this.#isEnded ? wanted : Math.min(wanted, this.#bytes);
    this.#bytes -= taken;
    return taken;
  }

  async #read(stream: NamedStream): Promise<void> {
    try {
      for await (const message of stream.incoming) {
        const update = unpackAny(message, WindowUpdate)?.update ?? 0;
        this.#bytes = Math.max(this.#bytes, 0) + update;
        this.#wake?.();
      }
    } catch {
      // The stream broke: the sender is woken and meets the closed stream.
    }
    this.#isEnded = true;
    this.#wake?.();
  }
}
