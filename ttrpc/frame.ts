/**
 * Frames on the wire: a header of 10 bytes, big endian (data length 4, stream id 4, type 1,
 * flags 1), then the data. Source: containerd/ttrpc PROTOCOL.md.
 */
import { Buffer } from 'node:buffer';

export const HEADER_LENGTH = 10;

/** Longest data a frame may carry, in bytes, by the protocol. */
export const MAX_DATA_LENGTH = 4 << 20;

export const FrameType = { REQUEST: 1, RESPONSE: 2, DATA: 3 } as const;

export const Flag = {
  /** The sender will send no more on this stream. */
  REMOTE_CLOSED: 1,
  /** On a request: the client will send data frames. */
  REMOTE_OPEN: 2,
  /** The frame stands for no message, rather than for one of no bytes. */
  NO_DATA: 4,
} as const;

export interface Frame {
  streamId: number;
  type: number;
  flags: number;
  data: Uint8Array;
}

/** The header of a frame whose data was longer than allowed and has been thrown away. */
export interface OversizedFrame {
  streamId: number;
  type: number;
  flags: number;
  length: number;
}

const EMPTY = new Uint8Array(0);

/** Header and data of one frame as one buffer. */
export function encodeFrame(frame: Frame): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_LENGTH + frame.data.length);
  bytes.writeUInt32BE(frame.data.length, 0);
  bytes.writeUInt32BE(frame.streamId, 4);
  bytes.writeUInt8(frame.type, 8);
  bytes.writeUInt8(frame.flags, 9);
  bytes.set(frame.data, HEADER_LENGTH);
  return bytes;
}

export interface FrameSink {
  frame(frame: Frame): void;
  /** Called when the header has arrived; the data that follows is skipped. */
  oversized(frame: OversizedFrame): void;
}

/**
 * Cuts a byte stream into frames. What is held is never more than the bytes received of one frame:
 * a header that announces much costs nothing until the data comes.
 */
export class FrameDecoder {
  readonly #sink: FrameSink;
  readonly #maxDataLength: number;
  #chunks: Uint8Array[] = [];
  #buffered = 0;
  #header: { streamId: number; type: number; flags: number; length: number } | undefined;
  #skip = 0;

  constructor(sink: FrameSink, maxDataLength: number = MAX_DATA_LENGTH) {
    this.#sink = sink;
    this.#maxDataLength = maxDataLength;
  }

  /** Whether the stream may end here: false within a frame. */
  get isAtBoundary(): boolean {
    return this.#buffered === 0 && this.#header === undefined && this.#skip === 0;
  }

  /** Takes the next bytes and hands every frame they complete to the sink. */
  push(chunk: Uint8Array): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, rest.length);
        this.#skip -= skipped;
        rest = rest.subarray(skipped);
        continue;
      }
      const wanted = (this.#header?.length ?? HEADER_LENGTH) - this.#buffered;
      this.#chunks.push(rest.length > wanted ? rest.subarray(0, wanted) : rest);
      this.#buffered += Math.min(wanted, rest.length);
      if (rest.length < wanted) return;
      rest = rest.subarray(wanted);
      this.#complete();
    }
  }

  #complete(): void {
    const bytes = this.#take();
    const header = this.#header;
    if (header !== undefined) {
      this.#header = undefined;
      this.#sink.frame({ ...withoutLength(header), data: bytes });
      return;
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const next = {
      length: view.getUint32(0),
      streamId: view.getUint32(4),
      type: view.getUint8(8),
      flags: view.getUint8(9),
    };
    if (next.length > this.#maxDataLength) {
      this.#skip = next.length;
      this.#sink.oversized(next);
    } else if (next.length === 0) {
      this.#sink.frame({ ...withoutLength(next), data: EMPTY });
    } else {
      this.#header = next;
    }
  }

  #take(): Uint8Array {
    const [first] = this.#chunks;
    const bytes =
      this.#chunks.length === 1 && first !== undefined
        ? first
        : Buffer.concat(this.#chunks, this.#buffered);
    this.#chunks = [];
    this.#buffered = 0;
    return bytes;
  }
}

function withoutLength(header: OversizedFrame): Omit<Frame, 'data'> {
  return { streamId: header.streamId, type: header.type, flags: header.flags };
}
