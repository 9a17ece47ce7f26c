/**
 * Reads tar archives as they stream in: bytes go in by `push`, entries and their data come out
 * through a handler, synchronously and in order.
 *
 * Why not tar-stream, which the image archives use: it decodes pax values as UTF-8, which destroys
 * binary attributes (security.capability), has no sparse files, whole seconds only, and makes a
 * stream for each entry; a layer has tens of thousands of them.
 *
 * The attack: global headers, each small by itself, whose records pile up in memory (a layer of
 * 600 KB that takes gigabytes). Like containerd this ignores global headers, and it accepts only as many
 * headers before an entry as an honest archive has.
 */
import { TsError } from '../errors/index.ts';
import type { SparseRun, TarEntry, TarEntryType } from './tar-entry.ts';
import { displayPath } from './tar-entry.ts';
import { signedTarNumber, tarNumber } from './tar-number.ts';
import { parsePax, paxNumber, paxTimeNs } from './tar-pax.ts';
import {
  checkRuns,
  commaNumbers,
  readGnuRuns,
  runsOfNumbers,
  SparseMapParser,
} from './tar-sparse.ts';

const BLOCK = 512;
/** Longest extended header, in which paths and attributes are: 64 attributes of 64 KiB. */
const MAX_EXTENDED_BYTES = 4 << 20;
/** Extended headers before an entry: tar programs write x, L and K once each, and a few g. */
const MAX_EXTENDED_HEADERS = 16;

const TYPES: Readonly<Record<string, TarEntryType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hard-link',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file',
  S: 'file',
};

/** What to do with what is found. Exceptions end the reading. */
export interface TarHandler {
  entry(entry: TarEntry): void;
  /** Data of the last entry; valid during the call only. */
  data(chunk: Buffer): void;
  /** The last entry's data is complete. */
  end(): void;
}

/** What the next bytes are. */
type State =
  | 'header'
  | 'gnu-sparse' // extension blocks of an S header
  | 'extended' // body of an x, L or K header
  | 'sparse-map' // pax 1.0: the map before the data
  | 'data'
  | 'padding' // and the body of a g header
  | 'end';

export class TarReader {
  readonly #handler: TarHandler;
  #state: State = 'header';
  /** Bytes left in the current body, without padding. */
  #left = 0;
  #padding = 0;
  /** Position in the archive, for errors. */
  #offset = 0;
  /** Collects a block or an extended body that arrives in pieces. */
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #hasZeroBlock = false;

  #extendedType = '';
  #extendedCount = 0;
  #pax = new Map<string, Buffer>();
  #sparseNumbers: number[] = [];
  #longPath: string | undefined;
  #longLink: string | undefined;

  #header: Buffer = Buffer.alloc(0);
  #runs: SparseRun[] = [];
  #sizeBytes = 0;
  #map: SparseMapParser | undefined;

  constructor(handler: TarHandler) {
    this.#handler = handler;
  }

  /** Takes the next bytes of the archive. Throws InvalidArgument on what is no tar. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.#state !== 'end') {
      at += this.#take(at === 0 ? chunk : chunk.subarray(at));
    }
  }

  /** Must be called at the end of the input: an archive that breaks off is DataLoss. */
  finish(): void {
    const isBetween = this.#state === 'header' && this.#pendingBytes === 0 && this.#pax.size === 0;
    if (this.#state !== 'end' && !isBetween) {
      throw new TsError('DataLoss', `tar archive ends early, after ${this.#offset} bytes`);
    }
  }

  /** Uses up bytes from the start of `chunk` and returns how many. */
  #take(chunk: Buffer): number {
    switch (this.#state) {
      case 'data':
        return this.#takeData(chunk);
      case 'padding':
        return this.#takePadding(chunk);
      case 'extended':
        return this.#collect(chunk, this.#left, (body) => this.#extended(body));
      default:
        return this.#collect(chunk, BLOCK, (block) => this.#block(block));
    }
  }

  #collect(chunk: Buffer, wanted: number, complete: (bytes: Buffer) => void): number {
    const missing = wanted - this.#pendingBytes;
    const part = chunk.subarray(0, missing);
    this.#offset += part.length;
    if (this.#pendingBytes === 0 && part.length === wanted) {
      complete(part);
      return part.length;
    }
    this.#pending.push(Buffer.from(part)); // a copy: the caller's chunk is only lent
    this.#pendingBytes += part.length;
    if (this.#pendingBytes === wanted) {
      const whole = Buffer.concat(this.#pending);
      this.#pending = [];
      this.#pendingBytes = 0;
      complete(whole);
    }
    return part.length;
  }

  #block(block: Buffer): void {
    if (this.#state === 'gnu-sparse') this.#gnuSparseBlock(block);
    else if (this.#state === 'sparse-map') this.#sparseMapBlock(block);
    else this.#headerBlock(block);
  }

  #headerBlock(block: Buffer): void {
    if (isZero(block)) {
      if (this.#hasZeroBlock) this.#state = 'end';
      this.#hasZeroBlock = true;
      return;
    }
    if (this.#hasZeroBlock) throw this.#invalid('data after the end');
    this.#checkSum(block);
    const flag = String.fromCharCode(block[156] ?? 0);
    const size = tarNumber(block, 124, 12);
    if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
      if (size > MAX_EXTENDED_BYTES) throw this.#invalid(`extended header of ${size} bytes`);
      if (++this.#extendedCount > MAX_EXTENDED_HEADERS) {
        throw this.#invalid(`more than ${MAX_EXTENDED_HEADERS} extended headers before an entry`);
      }
      this.#padding = -size & (BLOCK - 1);
      if (flag === 'g') {
        this.#padding += size;
        this.#pad();
        return;
      }
      this.#extendedType = flag;
      this.#left = size;
      this.#state = 'extended';
      if (size === 0) this.#extended(Buffer.alloc(0));
      return;
    }
    this.#header = Buffer.from(block);
    this.#runs = [];
    if (flag === 'S') {
      readGnuRuns(block, 386, 4, this.#runs);
      this.#sizeBytes = tarNumber(block, 483, 12);
      if (block[482] !== 0) {
        this.#state = 'gnu-sparse';
        return;
      }
    }
    this.#begin();
  }

  #gnuSparseBlock(block: Buffer): void {
    readGnuRuns(block, 0, 21, this.#runs);
    if (block[504] === 0) this.#begin();
  }

  #sparseMapBlock(block: Buffer): void {
    if (this.#left < BLOCK) throw this.#invalid('sparse map is cut off');
    this.#left -= BLOCK;
    this.#map?.push(block);
    if (this.#map?.runs === undefined) return;
    this.#runs = this.#map.runs;
    this.#emit(this.#left, true);
  }

  #extended(body: Buffer): void {
    const cString = (): string => {
      const end = body.indexOf(0);
      return body.toString('latin1', 0, end === -1 ? body.length : end);
    };
    if (this.#extendedType === 'L') this.#longPath = cString();
    else if (this.#extendedType === 'K') this.#longLink = cString();
    else {
      this.#sparseNumbers = [];
      this.#pax = parsePax(Buffer.from(body), (key, value) => {
        if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
          this.#sparseNumbers.push(paxNumber(key, value));
        }
      });
    }
    this.#left = 0;
    this.#pad();
  }

  /** All headers of an entry are here: its data, or a sparse map, comes next. */
  #begin(): void {
    const header = this.#header;
    const flag = String.fromCharCode(header[156] ?? 0);
    const type = TYPES[flag];
    if (type === undefined) throw this.#invalid(`typeflag ${JSON.stringify(flag)}`);
    const size = this.#number('size', tarNumber(header, 124, 12));
    // Other types have no data, whatever a writer put into the field (POSIX: size is 0 or ignored).
    const stored = type === 'file' ? size : 0;
    this.#padding = -stored & (BLOCK - 1);
    this.#left = stored;
    if (flag === 'S') {
      this.#emit(stored, true);
      return;
    }
    if (this.#record('GNU.sparse.major')?.toString() === '1') {
      this.#sizeBytes = this.#number('GNU.sparse.realsize', size);
      this.#map = new SparseMapParser();
      this.#state = 'sparse-map';
      return;
    }
    const list = this.#record('GNU.sparse.map');
    if (list !== undefined || this.#sparseNumbers.length > 0) {
      this.#runs = runsOfNumbers(list === undefined ? this.#sparseNumbers : commaNumbers(list));
      this.#sizeBytes = this.#number('GNU.sparse.size', size);
      this.#emit(stored, true);
      return;
    }
    this.#emit(stored, false);
  }

  #emit(dataBytes: number, isSparse: boolean): void {
    if (isSparse) checkRuns(this.#runs, this.#sizeBytes, dataBytes);
    const entry = this.#entry(dataBytes, isSparse);
    this.#extendedCount = 0;
    this.#pax = new Map();
    this.#sparseNumbers = [];
    this.#longPath = undefined;
    this.#longLink = undefined;
    this.#map = undefined;
    this.#left = dataBytes;
    this.#state = 'data';
    this.#handler.entry(entry);
    if (dataBytes === 0) this.#endOfData();
  }

  #entry(dataBytes: number, isSparse: boolean): TarEntry {
    const header = this.#header;
    const text = (offset: number, length: number): string => {
      const end = header.indexOf(0, offset);
      const isCut = end === -1 || end > offset + length;
      return header.toString('latin1', offset, isCut ? offset + length : end);
    };
    const isUstar = header.toString('latin1', 257, 263) === 'ustar\0';
    const prefix = isUstar ? text(345, 155) : '';
    const short = prefix === '' ? text(0, 100) : `${prefix}/${text(0, 100)}`;
    const sparseName = isSparse ? this.#record('GNU.sparse.name') : undefined;
    const path =
      (sparseName ?? this.#record('path'))?.toString('latin1') ?? this.#longPath ?? short;
    const linkPath =
      this.#record('linkpath')?.toString('latin1') ?? this.#longLink ?? text(157, 100);
    if (path.includes('\0') || linkPath.includes('\0')) throw this.#invalid('NUL byte in a path');
    const flag = String.fromCharCode(header[156] ?? 0);
    const type = TYPES[flag] ?? 'file';
    const isOldDirectory = (flag === '\0' || flag === '0') && path.endsWith('/');
    const mtime = this.#record('mtime');
    return {
      type: isOldDirectory ? 'directory' : type,
      path,
      linkPath: type === 'hard-link' || type === 'symlink' ? linkPath : '',
      mode: tarNumber(header, 100, 8) & 0o7777,
      uid: this.#id('uid', 108),
      gid: this.#id('gid', 116),
      dataBytes,
      sizeBytes: isSparse ? this.#sizeBytes : dataBytes,
      mtimeNs:
        mtime === undefined
          ? BigInt(signedTarNumber(header, 136, 12)) * 1_000_000_000n
          : paxTimeNs(mtime),
      devMajor: type.endsWith('-device') ? tarNumber(header, 329, 8) : 0,
      devMinor: type.endsWith('-device') ? tarNumber(header, 337, 8) : 0,
      xattrs: this.#xattrs(),
      sparse: isSparse ? this.#runs : undefined,
    };
  }

  /** Owner ids are 32 bits; -1 means "leave as it is" to chown(2) and is no owner. */
  #id(key: string, offset: number): number {
    const id = this.#number(key, tarNumber(this.#header, offset, 8));
    if (id >= 0xffffffff) throw this.#invalid(`${key} ${id}`);
    return id;
  }

  #xattrs(): Map<string, Buffer> {
    const xattrs = new Map<string, Buffer>();
    for (const [key, value] of this.#pax) {
      if (key.startsWith('SCHILY.xattr.')) xattrs.set(key.slice(13), value);
    }
    return xattrs;
  }

  /** A pax record of this entry; an empty value is none. */
  #record(key: string): Buffer | undefined {
    const value = this.#pax.get(key);
    return value === undefined || value.length === 0 ? undefined : value;
  }

  #number(key: string, otherwise: number): number {
    const value = this.#record(key);
    return value === undefined ? otherwise : paxNumber(key, value);
  }

  #takeData(chunk: Buffer): number {
    const part = chunk.length <= this.#left ? chunk : chunk.subarray(0, this.#left);
    this.#left -= part.length;
    this.#offset += part.length;
    this.#handler.data(part);
    if (this.#left === 0) this.#endOfData();
    return part.length;
  }

  #endOfData(): void {
    this.#pad();
    this.#handler.end();
  }

  #pad(): void {
    this.#state = this.#padding === 0 ? 'header' : 'padding';
  }

  #takePadding(chunk: Buffer): number {
    const part = Math.min(chunk.length, this.#padding);
    this.#padding -= part;
    this.#offset += part;
    if (this.#padding === 0) this.#state = 'header';
    return part;
  }

  /** The sum counts the checksum field as spaces; some historic writers summed signed bytes. */
  #checkSum(block: Buffer): void {
    const stored = tarNumber(block, 148, 8);
    let unsigned = 0;
    let signed = 0;
    for (let i = 0; i < BLOCK; i++) {
      const byte = i >= 148 && i < 156 ? 0x20 : (block[i] ?? 0);
      unsigned += byte;
      signed += byte > 127 ? byte - 256 : byte;
    }
    if (stored !== unsigned && stored !== signed) throw this.#invalid('header checksum mismatch');
  }

  #invalid(what: string): TsError {
    const name = this.#longPath ?? '';
    const near = name === '' ? '' : ` near ${displayPath(name)}`;
    const header = Math.max(0, this.#offset - BLOCK);
    return new TsError('InvalidArgument', `tar archive: ${what} at byte ${header}${near}`);
  }
}

function isZero(block: Buffer): boolean {
  for (let i = 0; i < block.length; i++) if (block[i] !== 0) return false;
  return true;
}
