/** Header blocks of SPDY/3 (protocol draft 3.1, section 2.6.10): pairs behind their lengths, one zlib stream for all of a direction. */
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from 'node:zlib';
import { TsError } from '../errors/index.ts';
import { SPDY_DICTIONARY } from './spdy-dictionary.ts';

/** A few names and values; more is an attempt to fill the memory (a block can be a thousand times its compressed size). */
const MAX_BLOCK_BYTES = 64 * 1024;
const MAX_HEADERS = 100;

export type SpdyHeaders = ReadonlyMap<string, string>;

/** Reads and writes the header blocks of one connection, in the order in which they are on the wire. */
export class HeaderCodec {
  readonly #inflate = new Flow(createInflate({ dictionary: SPDY_DICTIONARY }));
  readonly #deflate = new Flow(createDeflate({ dictionary: SPDY_DICTIONARY }));

  async decode(block: Buffer): Promise<SpdyHeaders> {
    return parseHeaders(await this.#inflate.run(block));
  }

  async encode(headers: SpdyHeaders): Promise<Buffer> {
    return await this.#deflate.run(printHeaders(headers));
  }

  close(): void {
    this.#inflate.close();
    this.#deflate.close();
  }
}

/** A compressor or decompressor that is given a block at a time. */
class Flow {
  readonly #stream: Inflate | Deflate;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #failure: unknown;

  constructor(stream: Inflate | Deflate) {
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => {
      this.#bytes += chunk.length;
      if (this.#bytes <= MAX_BLOCK_BYTES) this.#chunks.push(chunk);
      else
        stream.destroy(
          new TsError('ResourceExhausted', `SPDY/3.1: headers beyond ${MAX_BLOCK_BYTES} bytes`),
        );
    });
    stream.on('error', (error) => {
      this.#failure = error;
    });
  }

  run(block: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const failed = (): void => reject(TsError.from(this.#failure, 'SPDY/3.1: headers'));
      if (this.#failure !== undefined) return failed();
      this.#chunks = [];
      this.#bytes = 0;
      this.#stream.once('error', failed);
      this.#stream.write(block);
      this.#stream.flush(constants.Z_SYNC_FLUSH, () => {
        this.#stream.off('error', failed);
        if (this.#failure === undefined) resolve(Buffer.concat(this.#chunks));
      });
    });
  }

  close(): void {
    this.#stream.destroy();
  }
}

function printHeaders(headers: SpdyHeaders): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(headers.size);
  const texts = [...headers].flat().map((text) => {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  });
  return Buffer.concat([count, ...texts]);
}

function parseHeaders(block: Buffer): SpdyHeaders {
  let offset = 0;
  const number = (): number => {
    if (offset + 4 > block.length) throw cutOff();
    offset += 4;
    return block.readUInt32BE(offset - 4);
  };
  const text = (): string => {
    const length = number();
    if (offset + length > block.length) throw cutOff();
    offset += length;
    return block.toString('utf8', offset - length, offset);
  };
  const count = number();
  if (count > MAX_HEADERS) throw new TsError('InvalidArgument', `SPDY/3.1: ${count} headers`);
  const headers = new Map<string, string>();
  for (let index = 0; index < count; index++) {
    const name = text().toLowerCase();
    headers.set(name, text());
  }
  return headers;
}

function cutOff(): TsError {
  return new TsError('InvalidArgument', 'SPDY/3.1: headers are cut off');
}
