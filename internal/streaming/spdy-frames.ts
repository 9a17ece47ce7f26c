/** SPDY/3.1 frames (protocol draft 3.1, section 2.2): bytes in, values out. Only what streams of bytes need. */
import { TsError } from '../errors/index.ts';

const HEADER_BYTES = 8;
const CONTROL_BIT = 0x80000000;
const VERSION = 3;
/** A control frame holds a few headers; data comes in pieces of 32 KiB. Whoever sends more does not speak to us. */
const MAX_FRAME_BYTES = 1024 * 1024;

export const FrameType = {
  SYN_STREAM: 1,
  SYN_REPLY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PING: 6,
  GOAWAY: 7,
  HEADERS: 8,
  WINDOW_UPDATE: 9,
} as const;

const FLAG_FIN = 1;

export type SpdyFrame =
  | {
      readonly kind: 'data';
      readonly streamId: number;
      readonly isLast: boolean;
      readonly data: Buffer;
    }
  | {
      readonly kind: 'syn-stream' | 'syn-reply' | 'headers';
      readonly streamId: number;
      readonly isLast: boolean;
      /** The compressed header block. */
      readonly block: Buffer;
    }
  | { readonly kind: 'rst-stream'; readonly streamId: number; readonly status: number }
  | { readonly kind: 'ping'; readonly id: number }
  | { readonly kind: 'goaway' }
  /** Settings and windows: the peers of this protocol use neither. */
  | { readonly kind: 'ignored' };

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  #buffered: Buffer = Buffer.alloc(0);

  /** The frames that `chunk` completes. Throws InvalidArgument on what is not SPDY/3. */
  *push(chunk: Buffer): Iterable<SpdyFrame> {
    this.#buffered = this.#buffered.length === 0 ? chunk : Buffer.concat([this.#buffered, chunk]);
    while (this.#buffered.length >= HEADER_BYTES) {
      const length = this.#buffered.readUIntBE(5, 3);
      if (length > MAX_FRAME_BYTES) throw malformed(`a frame of ${length} bytes`);
      const end = HEADER_BYTES + length;
      if (this.#buffered.length < end) return;
      const frame = parse(this.#buffered.subarray(0, end));
      this.#buffered = this.#buffered.subarray(end);
      yield frame;
    }
  }
}

function parse(frame: Buffer): SpdyFrame {
  const first = frame.readUInt32BE(0);
  const isLast = (frame.readUInt8(4) & FLAG_FIN) !== 0;
  const body = frame.subarray(HEADER_BYTES);
  if ((first & CONTROL_BIT) === 0) return { kind: 'data', streamId: first, isLast, data: body };
  const version = (first >>> 16) & 0x7fff;
  if (version !== VERSION) throw malformed(`version ${version}`);
  const word = (offset: number): number => {
    if (body.length < offset + 4) throw malformed(`a control frame of ${body.length} bytes`);
    return body.readUInt32BE(offset);
  };
  const streamId = (): number => word(0) & 0x7fffffff;
  switch (first & 0xffff) {
    case FrameType.SYN_STREAM:
      word(6); // long enough
      return { kind: 'syn-stream', streamId: streamId(), isLast, block: body.subarray(10) };
    case FrameType.SYN_REPLY:
      return { kind: 'syn-reply', streamId: streamId(), isLast, block: body.subarray(4) };
    case FrameType.HEADERS:
      return { kind: 'headers', streamId: streamId(), isLast, block: body.subarray(4) };
    case FrameType.RST_STREAM:
      return { kind: 'rst-stream', streamId: streamId(), status: word(4) };
    case FrameType.PING:
      return { kind: 'ping', id: word(0) };
    case FrameType.GOAWAY:
      return { kind: 'goaway' };
    case FrameType.SETTINGS:
    case FrameType.WINDOW_UPDATE:
      return { kind: 'ignored' };
    default:
      throw malformed(`a frame of type ${first & 0xffff}`);
  }
}

function malformed(what: string): TsError {
  return new TsError('InvalidArgument', `SPDY/3.1: ${what}`);
}

function control(type: number, flags: number, body: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE((CONTROL_BIT | (VERSION << 16) | type) >>> 0, 0);
  header.writeUInt32BE(((flags << 24) | body.length) >>> 0, 4);
  return Buffer.concat([header, body]);
}

const words = (...values: number[]): Buffer => {
  const body = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) body.writeUInt32BE(value >>> 0, index * 4);
  return body;
};

/** A data frame; `isLast` ends this direction of the stream. */
export function dataFrame(streamId: number, data: Uint8Array, isLast = false): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(streamId, 0);
  header.writeUInt32BE((((isLast ? FLAG_FIN : 0) << 24) | data.length) >>> 0, 4);
  return Buffer.concat([header, data]);
}

export function synStreamFrame(streamId: number, block: Buffer): Buffer {
  return control(
    FrameType.SYN_STREAM,
    0,
    Buffer.concat([words(streamId, 0), Buffer.alloc(2), block]),
  );
}

export function synReplyFrame(streamId: number, block: Buffer): Buffer {
  return control(FrameType.SYN_REPLY, 0, Buffer.concat([words(streamId), block]));
}

export function rstStreamFrame(streamId: number, status: number): Buffer {
  return control(FrameType.RST_STREAM, 0, words(streamId, status));
}

export function pingFrame(id: number): Buffer {
  return control(FrameType.PING, 0, words(id));
}

export function goawayFrame(lastStreamId: number): Buffer {
  return control(FrameType.GOAWAY, 0, words(lastStreamId, 0));
}
