/** Writes ASN.1 values by the distinguished encoding rules (X.690), as far as a certificate needs. */

const value = (tag: number, ...content: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(content);
  return Buffer.concat([Buffer.from([tag, ...lengthBytes(body.length)]), body]);
};

/** A length below 128 is one byte; a longer one has a byte before it that counts its bytes. */
function lengthBytes(length: number): number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [0x80 | bytes.length, ...bytes];
}

/** A SEQUENCE of values. */
export const sequence = (...content: readonly Uint8Array[]): Buffer => value(0x30, ...content);

/** A SET with one value. */
export const setOf = (content: Uint8Array): Buffer => value(0x31, content);

/** A value with a context-specific tag that wraps another, `[N] EXPLICIT`. */
export const explicit = (tag: number, content: Uint8Array): Buffer => value(0xa0 | tag, content);

/** A primitive value with a context-specific tag in place of its own, `[N] IMPLICIT`. */
export const implicit = (tag: number, content: Uint8Array): Buffer => value(0x80 | tag, content);

/** An INTEGER, from the bytes of a number that is not negative. */
export function integer(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const rest = bytes.subarray(start);
  const isTooHigh = ((rest[0] ?? 0) & 0x80) !== 0; // the highest bit is the sign's
  return value(0x02, isTooHigh ? Buffer.from([0]) : Buffer.alloc(0), rest);
}

/** A BOOLEAN that is true. */
export const TRUE: Buffer = value(0x01, Buffer.from([0xff]));

/** A BIT STRING, without its last `unused` bits. */
export const bitString = (bytes: Uint8Array, unused = 0): Buffer =>
  value(0x03, Buffer.from([unused]), bytes);

/** An OCTET STRING. */
export const octetString = (bytes: Uint8Array): Buffer => value(0x04, bytes);

/** A UTF8String. */
export const utf8String = (text: string): Buffer => value(0x0c, Buffer.from(text, 'utf8'));

/** A UTCTime, to the second; RFC 5280 wants it for years before 2050. */
export function time(date: Date): Buffer {
  const digits = `${date.toISOString().slice(0, 19).replace(/[-:T]/g, '')}Z`;
  return date.getUTCFullYear() < 2050
    ? value(0x17, Buffer.from(digits.slice(2), 'ascii'))
    : value(0x18, Buffer.from(digits, 'ascii'));
}

/** An OBJECT IDENTIFIER, from its dotted text. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return value(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(baseOf128)]));
}

/** Digits of base 128, the highest first, all but the last with their highest bit set. */
function baseOf128(number: number): number[] {
  const digits = [number % 128];
  for (let rest = Math.floor(number / 128); rest > 0; rest = Math.floor(rest / 128)) {
    digits.unshift(0x80 | (rest % 128));
  }
  return digits;
}
