/**
 * The messages of ttrpc itself, coded by hand so that nothing has to be generated before the
 * library can be read: proto/ttrpc.proto and proto/google/rpc/status.proto describe them. A field
 * this file does not know is skipped, as protobuf wants it.
 */
import protobuf from 'protobufjs/minimal.js';
import type { Any, Status } from './status.ts';

type Reader = protobuf.Reader;
type Writer = protobuf.Writer;

/** One pair of a call's metadata. */
export interface KeyValue {
  key: string;
  value: string;
}

/** The data of a request frame. */
export interface Request {
  service: string;
  method: string;
  /** The one input message; absent when the client will stream its input. */
  payload: Uint8Array | undefined;
  /** Time the call may take, in nanoseconds; 0 is no limit. */
  timeoutNano: bigint;
  metadata: KeyValue[];
}

/** The data of a response frame. */
export interface Response {
  /** Absent for success. */
  status: Status | undefined;
  payload: Uint8Array;
}

const EMPTY = new Uint8Array(0);
const LENGTH_DELIMITED = 2;
const VARINT = 0;

const tag = (field: number, wireType: number): number => (field << 3) | wireType;

/**
 * Calls `field` for each tag up to `end`; it returns false for what it does not know. Throws when
 * a field crosses the end.
 */
function readFields(reader: Reader, end: number, field: (tag: number) => boolean): void {
  while (reader.pos < end) {
    const next = reader.uint32();
    if (!field(next)) reader.skipType(next & 7);
  }
  if (reader.pos !== end) throw new RangeError('a field crosses the end of its message');
}

function writeString(writer: Writer, field: number, value: string): void {
  if (value !== '') writer.uint32(tag(field, LENGTH_DELIMITED)).string(value);
}

export function encodeRequest(request: Request): Uint8Array {
  const writer = protobuf.Writer.create();
  writeString(writer, 1, request.service);
  writeString(writer, 2, request.method);
  if (request.payload !== undefined && request.payload.length > 0) {
    writer.uint32(tag(3, LENGTH_DELIMITED)).bytes(request.payload);
  }
  if (request.timeoutNano !== 0n) writer.uint32(tag(4, VARINT)).int64(toLong(request.timeoutNano));
  for (const { key, value } of request.metadata) {
    writer.uint32(tag(5, LENGTH_DELIMITED)).fork();
    writeString(writer, 1, key);
    writeString(writer, 2, value);
    writer.ldelim();
  }
  return writer.finish();
}

/** Throws on bytes that are not a Request. */
export function decodeRequest(bytes: Uint8Array): Request {
  const reader = protobuf.Reader.create(bytes);
  const request: Request = {
    service: '',
    method: '',
    payload: undefined,
    timeoutNano: 0n,
    metadata: [],
  };
  readFields(reader, reader.len, (next) => {
    switch (next) {
      case tag(1, LENGTH_DELIMITED):
        request.service = reader.string();
        return true;
      case tag(2, LENGTH_DELIMITED):
        request.method = reader.string();
        return true;
      case tag(3, LENGTH_DELIMITED):
        request.payload = reader.bytes();
        return true;
      case tag(4, VARINT):
        request.timeoutNano = fromLong(reader.int64());
        return true;
      case tag(5, LENGTH_DELIMITED):
        request.metadata.push(readKeyValue(reader));
        return true;
      default:
        return false;
    }
  });
  return request;
}

export function encodeResponse(response: Response): Uint8Array {
  const writer = protobuf.Writer.create();
  if (response.status !== undefined) {
    writer.uint32(tag(1, LENGTH_DELIMITED)).fork();
    writeStatus(writer, response.status);
    writer.ldelim();
  }
  if (response.payload.length > 0) writer.uint32(tag(2, LENGTH_DELIMITED)).bytes(response.payload);
  return writer.finish();
}

/** Throws on bytes that are not a Response. */
export function decodeResponse(bytes: Uint8Array): Response {
  const reader = protobuf.Reader.create(bytes);
  const response: Response = { status: undefined, payload: EMPTY };
  readFields(reader, reader.len, (next) => {
    switch (next) {
      case tag(1, LENGTH_DELIMITED):
        response.status = readStatus(reader);
        return true;
      case tag(2, LENGTH_DELIMITED):
        response.payload = reader.bytes();
        return true;
      default:
        return false;
    }
  });
  return response;
}

function readKeyValue(reader: Reader): KeyValue {
  const pair = { key: '', value: '' };
  readFields(reader, endOfMessage(reader), (next) => {
    if (next === tag(1, LENGTH_DELIMITED)) pair.key = reader.string();
    else if (next === tag(2, LENGTH_DELIMITED)) pair.value = reader.string();
    else return false;
    return true;
  });
  return pair;
}

function writeStatus(writer: Writer, status: Status): void {
  if (status.code !== 0) writer.uint32(tag(1, VARINT)).int32(status.code);
  writeString(writer, 2, status.message);
  for (const detail of status.details) {
    writer.uint32(tag(3, LENGTH_DELIMITED)).fork();
    writeString(writer, 1, detail.typeUrl);
    if (detail.value.length > 0) writer.uint32(tag(2, LENGTH_DELIMITED)).bytes(detail.value);
    writer.ldelim();
  }
}

function readStatus(reader: Reader): Status {
  const status: Status = { code: 0, message: '', details: [] };
  readFields(reader, endOfMessage(reader), (next) => {
    if (next === tag(1, VARINT)) status.code = reader.int32();
    else if (next === tag(2, LENGTH_DELIMITED)) status.message = reader.string();
    else if (next === tag(3, LENGTH_DELIMITED)) status.details.push(readAny(reader));
    else return false;
    return true;
  });
  return status;
}

function readAny(reader: Reader): Any {
  const any: Any = { typeUrl: '', value: EMPTY };
  readFields(reader, endOfMessage(reader), (next) => {
    if (next === tag(1, LENGTH_DELIMITED)) any.typeUrl = reader.string();
    else if (next === tag(2, LENGTH_DELIMITED)) any.value = reader.bytes();
    else return false;
    return true;
  });
  return any;
}

/** Where the embedded message that starts here ends; throws when that is beyond the data. */
function endOfMessage(reader: Reader): number {
  const end = reader.uint32() + reader.pos;
  if (end > reader.len) throw new RangeError('embedded message is longer than its frame');
  return end;
}

/** The writer takes any object with both halves for a 64-bit number. */
function toLong(value: bigint): never {
  const low = Number(BigInt.asIntN(32, value));
  const high = Number(BigInt.asIntN(32, value >> 32n));
  return { low, high, unsigned: false } as never;
}

function fromLong(value: protobuf.Long): bigint {
  return (BigInt(value.high) << 32n) | BigInt(value.low >>> 0);
}
