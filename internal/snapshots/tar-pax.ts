import { TsError } from '../errors/index.ts';

const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;

/**
 * Records of a pax extended header (POSIX.1-2001, `LENGTH KEY=VALUE\n`). Keys are byte strings,
 * values bytes: an xattr such as security.capability is binary and holds NULs. A key that repeats
 * takes its last value, except that `onRepeat` sees all of them (GNU.sparse.offset, .numbytes).
 */
export function parsePax(
  data: Buffer,
  onRecord: (key: string, value: Buffer) => void = () => {},
): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(SPACE, at);
    const digits = space === -1 ? '' : data.toString('latin1', at, space);
    const length = /^[1-9][0-9]{0,9}$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    const equals = data.indexOf(EQUALS, space);
    const isWhole = length > 0 && end <= data.length && data[end - 1] === NEWLINE;
    if (!isWhole || equals === -1 || equals >= end) {
      throw new TsError('InvalidArgument', `pax header: malformed record at byte ${at}`);
    }
    const key = data.toString('latin1', space + 1, equals);
    const value = data.subarray(equals + 1, end - 1);
    onRecord(key, value);
    records.set(key, value);
    at = end;
  }
  return records;
}

/** Bytes of one pax record; its length counts its own digits. */
export function paxRecord(key: string, value: Buffer): Buffer {
  const rest = Buffer.byteLength(key, 'latin1') + value.length + 3; // space, =, newline
  let length = rest + String(rest).length;
  if (String(length).length !== String(rest).length) length = rest + String(length).length;
  return Buffer.concat([
    Buffer.from(`${length} `, 'latin1'),
    Buffer.from(key, 'latin1'),
    Buffer.from('='),
    value,
    Buffer.from('\n'),
  ]);
}

/** A pax time (decimal seconds with a fraction of any length) in nanoseconds. */
export function paxTimeNs(value: Buffer): bigint {
  const match = /^(-?)([0-9]{1,18})(?:\.([0-9]*))?$/.exec(value.toString('latin1'));
  if (match === null) {
    throw new TsError('InvalidArgument', `pax header: time ${JSON.stringify(value.toString())}`);
  }
  const [, sign = '', seconds = '0', fraction = ''] = match;
  const ns = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'));
  return sign === '-' ? -ns : ns;
}

/** A pax number: decimal digits, at most 2^53. */
export function paxNumber(key: string, value: Buffer): number {
  const text = value.toString('latin1');
  const number = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(number)) {
    throw new TsError('InvalidArgument', `pax header: ${key} ${JSON.stringify(text)}`);
  }
  return number;
}
