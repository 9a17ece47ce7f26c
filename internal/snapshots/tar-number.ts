import { TsError } from '../errors/index.ts';

/**
 * A number of a tar header: octal digits ended by NUL or space, or, with the top bit of the first
 * byte set, a big-endian binary number (GNU base-256). Throws InvalidArgument when it is neither,
 * negative or beyond 2^53.
 */
export function tarNumber(block: Buffer, offset: number, length: number): number {
  const value = signedTarNumber(block, offset, length);
  if (value < 0) throw invalid(block, offset, length);
  return value;
}

/** As {@link tarNumber} but may be negative: a time before 1970. */
export function signedTarNumber(block: Buffer, offset: number, length: number): number {
  const first = block[offset] ?? 0;
  if ((first & 0x80) !== 0) return base256(block, offset, length);
  let value = 0;
  let digits = 0;
  for (let i = offset; i < offset + length; i++) {
    const byte = block[i] ?? 0;
    if (byte === 0x20 && digits === 0) continue; // leading spaces: historic writers
    if (byte === 0 || byte === 0x20) break;
    if (byte < 0x30 || byte > 0x37) throw invalid(block, offset, length);
    value = value * 8 + (byte - 0x30);
    digits++;
  }
  return value;
}

function base256(block: Buffer, offset: number, length: number): number {
  const isNegative = ((block[offset] ?? 0) & 0x40) !== 0;
  let value = isNegative ? -1n : 0n;
  for (let i = 0; i < length; i++) {
    const byte = block[offset + i] ?? 0;
    const bits = i === 0 ? byte & 0x7f : byte;
    value =
      i === 0 ? (isNegative ? BigInt(bits) - 128n : BigInt(bits)) : value * 256n + BigInt(bits);
  }
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw invalid(block, offset, length);
  return number;
}

function invalid(block: Buffer, offset: number, length: number): TsError {
  const text = JSON.stringify(block.toString('latin1', offset, offset + length));
  return new TsError('InvalidArgument', `tar header: number ${text} at byte ${offset}`);
}
