import type { TarEntry, TarEntryType } from './tar-entry.ts';
import { paxRecord } from './tar-pax.ts';

const BLOCK = 512;
/** Largest number in the octal digits of a field: seven for owners, eleven for sizes and times. */
const MAX_7 = 0o7777777;
const MAX_11 = 0o77777777777;

const FLAGS: Readonly<Record<TarEntryType, string>> = {
  file: '0',
  'hard-link': '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
};

/**
 * The header of an entry: a ustar block, with a pax header before it for what does not fit there.
 * Times are cut to whole seconds, as containerd does: a pax record for the time of each file would
 * double the headers.
 */
export function tarHeader(entry: TarEntry): Buffer {
  const path = entry.type === 'directory' ? `${entry.path}/` : entry.path;
  const seconds =
    Number(entry.mtimeNs / 1_000_000_000n) - (entry.mtimeNs % 1_000_000_000n < 0n ? 1 : 0);
  const records: Buffer[] = [];
  const record = (key: string, value: string): void => {
    records.push(paxRecord(key, Buffer.from(value, 'latin1')));
  };
  const split = splitPrefix(path);
  if (split === undefined) record('path', path);
  if (entry.linkPath.length > 100 || !isAscii(entry.linkPath)) record('linkpath', entry.linkPath);
  if (entry.dataBytes > MAX_11) record('size', String(entry.dataBytes));
  if (entry.uid > MAX_7) record('uid', String(entry.uid));
  if (entry.gid > MAX_7) record('gid', String(entry.gid));
  if (seconds < 0 || seconds > MAX_11) record('mtime', String(seconds));
  for (const [key, value] of [...entry.xattrs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    records.push(paxRecord(`SCHILY.xattr.${key}`, value));
  }
  const block = ustar(entry, seconds, split ?? { prefix: '', name: ascii(path).slice(-100) });
  if (records.length === 0) return block;
  const body = Buffer.concat(records);
  return Buffer.concat([paxHeader(body.length), body, padding(body.length), block]);
}

/** Zeros up to the next block after `size` bytes of data. */
export function padding(size: number): Buffer {
  return Buffer.alloc(-size & (BLOCK - 1));
}

/** The end of an archive: two blocks of zeros. */
export function tarEnd(): Buffer {
  return Buffer.alloc(2 * BLOCK);
}

function paxHeader(size: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write('PaxHeaders.0/entry', 0, 'latin1');
  octal(block, 0o644, 100, 8);
  octal(block, 0, 108, 8);
  octal(block, 0, 116, 8);
  octal(block, size, 124, 12);
  octal(block, 0, 136, 12);
  block.write('x', 156, 'latin1');
  return seal(block);
}

function ustar(
  entry: TarEntry,
  seconds: number,
  { prefix, name }: { prefix: string; name: string },
): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0, 100, 'latin1');
  octal(block, entry.mode, 100, 8);
  octal(block, entry.uid > MAX_7 ? 0 : entry.uid, 108, 8);
  octal(block, entry.gid > MAX_7 ? 0 : entry.gid, 116, 8);
  octal(block, entry.dataBytes > MAX_11 ? 0 : entry.dataBytes, 124, 12);
  octal(block, seconds < 0 || seconds > MAX_11 ? 0 : seconds, 136, 12);
  block.write(FLAGS[entry.type], 156, 'latin1');
  block.write(ascii(entry.linkPath), 157, 100, 'latin1');
  if (entry.type.endsWith('-device')) {
    octal(block, entry.devMajor, 329, 8);
    octal(block, entry.devMinor, 337, 8);
  }
  block.write(prefix, 345, 155, 'latin1');
  return seal(block);
}

/** Writes magic and checksum (which counts its own field as spaces). */
function seal(block: Buffer): Buffer {
  block.write('ustar\0' + '00', 257, 'latin1');
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function octal(block: Buffer, value: number, offset: number, length: number): void {
  block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, offset, 'latin1');
}

function isAscii(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range of ASCII
  return /^[\x00-\x7f]*$/.test(text);
}

function ascii(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what is not ASCII
  return text.replaceAll(/[^\x00-\x7f]/g, '_');
}

/** Splits a path at a slash into 155 and 100 bytes; undefined when it does not fit. */
function splitPrefix(path: string): { prefix: string; name: string } | undefined {
  if (!isAscii(path)) return undefined;
  if (path.length <= 100) return { prefix: '', name: path };
  for (let at = path.indexOf('/'); at !== -1 && at <= 155; at = path.indexOf('/', at + 1)) {
    const name = path.slice(at + 1);
    if (at > 0 && name !== '' && name.length <= 100) return { prefix: path.slice(0, at), name };
  }
  return undefined;
}
