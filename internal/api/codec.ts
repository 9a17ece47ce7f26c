import protobuf from 'protobufjs/minimal.js';
import type { Init } from './init.ts';
import type { MessageType } from './service.ts';

export type Reader = protobuf.Reader;
export type Writer = protobuf.Writer;

/** A codec that generated modules can also use inside of other messages. */
export interface MessageCodec<T extends object> extends MessageType<T> {
  write(message: Init<T>, writer: Writer): void;
  /** Reads fields up to the position `end`. */
  read(reader: Reader, end: number): T;
}

/** Makes a message's codec from its generated halves. */
export function defineMessage<T extends object>(
  typeName: string,
  write: (message: Init<T>, writer: Writer) => void,
  read: (reader: Reader, end: number) => T,
): MessageCodec<T> {
  return {
    typeName,
    write,
    read,
    encode(message) {
      const writer = protobuf.Writer.create();
      write(message, writer);
      return writer.finish();
    },
    decode(bytes) {
      const reader = protobuf.Reader.create(bytes);
      const message = read(reader, reader.len);
      if (reader.pos !== reader.len) throw new RangeError(`${typeName}: field crosses the end`);
      return message;
    },
    create(message = {}) {
      const whole = read(protobuf.Reader.create(new Uint8Array(0)), 0) as Record<string, unknown>;
      for (const [key, value] of Object.entries(message)) {
        if (value === undefined) continue;
        const isMap = whole[key] instanceof Map;
        whole[key] = isMap ? new Map(value as Iterable<[unknown, unknown]>) : value;
      }
      return whole as T;
    },
  };
}

/** Reads a length-delimited message; one that crosses the end of its parent is refused. */
export function readMessage<T extends object>(
  reader: Reader,
  parentEnd: number,
  codec: MessageCodec<T>,
): T {
  const end = reader.uint32() + reader.pos;
  if (end > parentEnd) throw new RangeError(`${codec.typeName}: longer than its parent`);
  const message = codec.read(reader, end);
  if (reader.pos !== end) throw new RangeError(`${codec.typeName}: field crosses the end`);
  return message;
}

export function writeMessage<T extends object>(
  writer: Writer,
  tag: number,
  message: Init<T>,
  codec: MessageCodec<T>,
): void {
  writer.uint32(tag).fork();
  codec.write(message, writer);
  writer.ldelim();
}

interface Bits {
  readonly low: number;
  readonly high: number;
}

/** A signed 64-bit varint, exact over the whole range. */
export function readInt64(reader: Reader): bigint {
  const bits = reader.int64() as Bits;
  return (BigInt(bits.high) << 32n) | BigInt(bits.low >>> 0);
}

/** An unsigned 64-bit varint, exact over the whole range. */
export function readUint64(reader: Reader): bigint {
  const bits = reader.uint64() as Bits;
  return (BigInt(bits.high >>> 0) << 32n) | BigInt(bits.low >>> 0);
}

/** Writes the low 64 bits of `value` as a varint; negative values take ten bytes. */
export function write64(writer: Writer, value: bigint): void {
  writer.uint64({
    low: Number(BigInt.asIntN(32, value)),
    high: Number(BigInt.asIntN(32, value >> 32n)),
    unsigned: true,
  } as never);
}

/** Reads one element or, as proto3 writers send numbers, a packed run of them. */
export function readPacked<V>(
  reader: Reader,
  parentEnd: number,
  into: V[],
  readOne: (reader: Reader) => V,
): void {
  const end = reader.uint32() + reader.pos;
  if (end > parentEnd) throw new RangeError('packed field: longer than its parent');
  while (reader.pos < end) into.push(readOne(reader));
}

/** Reads one map entry. */
export function readEntry<K, V>(
  reader: Reader,
  parentEnd: number,
  into: Map<K, V>,
  key: K,
  value: () => V,
  readKey: (reader: Reader) => K,
  readValue: (reader: Reader, end: number) => V,
): void {
  const end = reader.uint32() + reader.pos;
  if (end > parentEnd) throw new RangeError('map entry: longer than its parent');
  let entryKey = key;
  let entryValue: V | undefined;
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag >>> 3 === 1) entryKey = readKey(reader);
    else if (tag >>> 3 === 2) entryValue = readValue(reader, end);
    else reader.skipType(tag & 7);
  }
  into.set(entryKey, entryValue ?? value());
}
