import type { Init } from './init.ts';
import type { MessageType } from './service.ts';

/** google.protobuf.Any as generated code shapes it. */
export interface AnyMessage {
  typeUrl: string;
  value: Uint8Array;
}

/** Packs a message as containerd does: the bare full name is the type URL, without a prefix. */
export function packAny<T extends object>(type: MessageType<T>, message: Init<T>): AnyMessage {
  return { typeUrl: type.typeName, value: type.encode(message) };
}

/** Whether `any` holds a message of `type`; a prefix up to the last `/` is ignored. */
export function isAny<T extends object>(any: AnyMessage, type: MessageType<T>): boolean {
  return any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1) === type.typeName;
}

/** The message inside `any`, or undefined when it holds another type. Throws on malformed bytes. */
export function unpackAny<T extends object>(
  any: AnyMessage | undefined,
  type: MessageType<T>,
): T | undefined {
  return any !== undefined && isAny(any, type) ? type.decode(any.value) : undefined;
}
