/** A message on the report pipe: the errno (0: an announcement), the step's index, a value. */
export interface Message {
  readonly errno: number;
  readonly index: number;
  readonly value: bigint;
}

/** The three words of a message. */
export function decodeMessage(bytes: Uint8Array): Message {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    errno: Number(view.getBigUint64(0, true)),
    index: Number(view.getBigUint64(8, true)),
    value: view.getBigInt64(16, true),
  };
}
