/**
 * The bytes of one output stream as lines of a log, as containerd's CRI plugin writes them
 * (internal/cri/io/logger.go): `TIME STREAM TAG CONTENT`. A line ends at `\n`, a `\r` before it is
 * dropped; one that is too long is cut into parts with the tag P, of which the last one has F. Or
 * as Docker's json-file writes them: an object a line, whose `log` ends in `\n` unless it was cut.
 */
import { releaseBuffer } from '../linux/release-buffer.ts';
import type { LogTarget, StreamName } from './log-uri.ts';

const NEWLINE = 0x0a;
const RETURN = 0x0d;

/** Takes whole lines. Slices are only valid during the call. */
export interface LineWriter {
  line(head: Uint8Array, content: Uint8Array, tail: Uint8Array): void;
}

export type LineOptions = Pick<
  LogTarget,
  'format' | 'maxLineBytes' | 'lastTag' | 'tags' | 'labels'
> & { readonly stream: StreamName };

/** Splits a stream; what has no end yet is held until it has one, or {@link finish} is called. */
export class LineSplitter {
  readonly #options: LineOptions;
  readonly #writer: LineWriter;
  /** Beginning of an unfinished line. It may be longer than allowed by a `\r` that could go. */
  #rest: Buffer | undefined;
  #restLength = 0;
  #timeNs = -1n;
  /** What stands around the content of a full and of a partial line. */
  #full: readonly [head: Uint8Array, tail: Uint8Array] = [EMPTY, EMPTY];
  #partial: readonly [head: Uint8Array, tail: Uint8Array] = [EMPTY, EMPTY];

  constructor(options: LineOptions, writer: LineWriter) {
    this.#options = options;
    this.#writer = writer;
  }

  /**
   * Takes the next bytes, which were read at `timeNs`, and says how many: not all if something is thrown behind the first
   * line, as when there is no memory. It is thrown on if nothing was taken; the same bytes may then come again.
   */
  push(bytes: Uint8Array, timeNs: bigint): number {
    this.#setTime(timeNs);
    let start = 0;
    try {
      while (start < bytes.length) {
        const newline = bytes.indexOf(NEWLINE, start);
        this.#pushPiece(bytes.subarray(start, newline < 0 ? bytes.length : newline), newline >= 0);
        start = newline < 0 ? bytes.length : newline + 1;
      }
    } catch (thrown) {
      if (start === 0) throw thrown;
    }
    return start;
  }

  #pushPiece(piece: Uint8Array, isEnd: boolean): void {
    if (isEnd) this.#withRest(piece, (line) => this.#endLine(line));
    else if (this.#restLength + piece.length <= this.#options.maxLineBytes) this.#hold(piece);
    else this.#withRest(piece, (line) => this.#hold(this.#cut(line)));
  }

  /** No more will come: writes what has no newline. */
  finish(timeNs: bigint): void {
    if (this.#restLength === 0) return;
    this.#setTime(timeNs);
    const { maxLineBytes, lastTag } = this.#options;
    this.#withRest(EMPTY, (rest) => {
      if (rest.length > maxLineBytes) this.#write(rest.subarray(0, maxLineBytes), false);
      this.#write(rest.subarray(rest.length > maxLineBytes ? maxLineBytes : 0), lastTag === 'F');
    });
  }

  #endLine(line: Uint8Array): void {
    const last = this.#cut(line);
    const drops = this.#options.format === 'cri' && last[last.length - 1] === RETURN;
    this.#write(drops ? last.subarray(0, last.length - 1) : last, true);
  }

  /** Writes what is too long in parts; returns the last part. */
  #cut(line: Uint8Array): Uint8Array {
    const { maxLineBytes, format } = this.#options;
    // A `\r` at the end does not count: it goes if a `\n` is, or may be, behind it.
    const length = line[line.length - 1] === RETURN ? line.length - 1 : line.length;
    let at = 0;
    while (length - at > maxLineBytes) {
      let end = at + maxLineBytes;
      // JSON is text: no character is cut in two.
      for (let back = 0; format === 'json' && back < 3 && isContinuation(line[end]); back++) end--;
      this.#write(line.subarray(at, end), false);
      at = end;
    }
    return line.subarray(at);
  }

  #hold(bytes: Uint8Array): void {
    const needed = this.#restLength + bytes.length;
    if (bytes.length === 0) return;
    if (this.#rest === undefined || this.#rest.length < needed) {
      const larger = Buffer.allocUnsafeSlow(
        Math.min(Math.max(needed, 128) * 2, this.#options.maxLineBytes + 1),
      );
      this.#rest?.copy(larger, 0, 0, this.#restLength);
      if (this.#rest !== undefined) releaseBuffer(this.#rest);
      this.#rest = larger;
    }
    this.#rest.set(bytes, this.#restLength);
    this.#restLength = needed;
  }

  /**
   * Calls `use` with the line so far and `bytes` behind it: valid during the call, since the memory is given back at once.
   * Nothing is held afterwards but what `use` holds, so that an idle container costs nothing.
   */
  #withRest(bytes: Uint8Array, use: (line: Uint8Array) => void): void {
    const held = this.#rest;
    if (held === undefined) {
      use(bytes);
      return;
    }
    const rest = held.subarray(0, this.#restLength);
    try {
      const line = bytes.length === 0 ? rest : Buffer.allocUnsafeSlow(rest.length + bytes.length);
      if (line !== rest) {
        rest.copy(line);
        line.set(bytes, rest.length);
      }
      this.#rest = undefined;
      this.#restLength = 0;
      use(line);
      if (line !== rest) releaseBuffer(line);
    } catch (thrown) {
      this.#rest = held; // what has no end yet is not lost
      this.#restLength = rest.length;
      throw thrown;
    }
    releaseBuffer(held);
  }

  #write(content: Uint8Array, isFull: boolean): void {
    const [head, tail] = isFull ? this.#full : this.#partial;
    if (this.#options.format === 'cri') {
      this.#writer.line(head, content, tail);
      return;
    }
    const text = JSON.stringify(Buffer.from(content).toString());
    this.#writer.line(head, Buffer.from(text.slice(1, -1)), tail);
  }

  #setTime(timeNs: bigint): void {
    if (timeNs === this.#timeNs) return;
    this.#timeNs = timeNs;
    const { format, stream, tags, labels } = this.#options;
    if (format === 'json') {
      const attrs =
        labels.size === 0 ? '' : `"attrs":${JSON.stringify(Object.fromEntries(labels))},`;
      const tail = `","stream":"${stream}",${attrs}"time":"${timeText(timeNs, 'utc')}"}\n`;
      this.#partial = [JSON_HEAD, Buffer.from(tail)];
      this.#full = [JSON_HEAD, Buffer.from(`\\n${tail}`)];
      return;
    }
    const [time, more] = [timeText(timeNs, 'local'), tags.map((tag) => `:${tag}`).join('')];
    this.#full = [Buffer.from(`${time} ${stream} F${more} `), LINE_END];
    this.#partial = [Buffer.from(`${time} ${stream} P${more} `), LINE_END];
  }
}

const EMPTY = new Uint8Array(0);
const LINE_END = Buffer.from('\n');
const JSON_HEAD = Buffer.from('{"log":"');

const isContinuation = (byte: number | undefined): boolean => {
  return byte !== undefined && (byte & 0xc0) === 0x80;
};

let cachedSecond = Number.NaN;
let cachedLocal = '';
let cachedZone = '';

/** RFC 3339 with as many digits of the nanoseconds as are not zero, as Go's RFC3339Nano. */
export function timeText(timeNs: bigint, zone: 'local' | 'utc'): string {
  const second = Number(timeNs / 1_000_000_000n);
  const nanos = Number(timeNs % 1_000_000_000n);
  const digits = nanos === 0 ? '' : `.${String(nanos).padStart(9, '0').replace(/0+$/, '')}`;
  if (zone === 'utc') return `${new Date(second * 1000).toISOString().slice(0, 19)}${digits}Z`;
  if (second !== cachedSecond) {
    const minutes = -new Date(second * 1000).getTimezoneOffset();
    cachedLocal = new Date((second + minutes * 60) * 1000).toISOString().slice(0, 19);
    cachedZone = zoneText(minutes);
    cachedSecond = second;
  }
  return `${cachedLocal}${digits}${cachedZone}`;
}

function zoneText(minutes: number): string {
  if (minutes === 0) return 'Z';
  const [hours, rest] = [Math.trunc(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${two(hours)}:${two(rest)}`;
}
