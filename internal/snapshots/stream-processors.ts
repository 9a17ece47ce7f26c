/**
 * Stream processors: programs that turn layers of one media type into another, so that encrypted layers can be
 * unpacked (containerd docs/stream_processors.md, `[stream_processors]` of the configuration).
 */
import { type FileHandle, open, statfs } from 'node:fs/promises';
import { Any } from '../api/generated/google.protobuf.ts';
import { TsError } from '../errors/index.ts';
import type { Descriptor } from '../images/image-store.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import { OCI_LAYER } from '../oci/index.ts';
import { type ProcessorProgram, runProcessor } from './processor-program.ts';

/** One table of `[stream_processors]`, `id` its name. */
export interface StreamProcessor extends ProcessorProgram {
  readonly id: string;
  readonly accepts: readonly string[];
  readonly returns: string;
}

/** By the id of a processor what it gets on descriptor 3: an encoded google.protobuf.Any. */
export type ProcessorPayloads = ReadonlyMap<string, Uint8Array>;

export interface StreamProcessorsOptions {
  readonly processors: readonly StreamProcessor[];
  /** Where what a processor writes is kept until it is unpacked. */
  readonly fileDirectory: string;
  /** Whether decoders of encrypted layers find their keys on this machine (`image_decryption.key_model = "node"`). */
  readonly hasNodeKeys: boolean;
}

/** The ids that imgcrypt's clients send payloads to. */
const DECODERS = [
  'io.containerd.ocicrypt.decoder.v1.tar',
  'io.containerd.ocicrypt.decoder.v1.tar.gzip',
];
const DECODER_PAYLOAD = 'io.containerd.ocicrypt.v1.Payload';
/** What a layer must leave free of the file system: a full disk stops the whole machine. */
const RESERVED_FRACTION = 0.02;

export class StreamProcessors {
  readonly #options: StreamProcessorsOptions;

  constructor(options: StreamProcessorsOptions) {
    this.#options = options;
  }

  /** The processor of a media type that has not been used in `used`. */
  find(mediaType: string, used: readonly StreamProcessor[] = []): StreamProcessor | undefined {
    if (mediaType === OCI_LAYER) return undefined; // there is nothing left to do
    return this.#options.processors.find(
      (one) => one.accepts.includes(mediaType) && !used.includes(one),
    );
  }

  /**
   * What the processors of a layer make of it, one after the other, in an unnamed file of the caller's, and its media
   * type; undefined when it has none. `fd` is open on the blob.
   */
  async process(
    layer: Descriptor,
    fd: number,
    given: ProcessorPayloads,
    signal: AbortSignal | undefined,
  ): Promise<{ file: FileHandle; mediaType: string } | undefined> {
    const used: StreamProcessor[] = [];
    let file: FileHandle | undefined;
    let { mediaType } = layer;
    for (;;) {
      const processor = this.find(mediaType, used);
      if (processor === undefined) return file && { file, mediaType };
      const before = file;
      try {
        file = await this.#run(
          processor,
          layer,
          { mediaType, fd: before?.fd ?? fd },
          given,
          signal,
        );
      } finally {
        await before?.close();
      }
      used.push(processor);
      mediaType = processor.returns;
    }
  }

  async #run(
    processor: StreamProcessor,
    layer: Descriptor,
    input: { readonly mediaType: string; readonly fd: number },
    given: ProcessorPayloads,
    signal: AbortSignal | undefined,
  ): Promise<FileHandle> {
    const { fileDirectory } = this.#options;
    const { mediaType } = input;
    const { bavail, blocks, bsize } = await statfs(fileDirectory);
    // Unnamed: gone with its descriptor, whatever happens.
    const output = await open(fileDirectory, OpenFlag.O_TMPFILE | OpenFlag.O_RDWR, 0o600);
    try {
      await runProcessor(processor, {
        what: `stream processor ${JSON.stringify(processor.id)} for ${mediaType}`,
        mediaType,
        input: input.fd,
        output,
        payload: given.get(processor.id) ?? this.#nodePayload(processor.id, layer),
        maxBytes: Math.floor(Math.max(0, bavail - blocks * RESERVED_FRACTION) * bsize),
        signal,
      });
      return output;
    } catch (error) {
      await output.close();
      throw TsError.from(error);
    }
  }

  /** What imgcrypt's decoder must know when the client names no keys: the layer with its wrapped keys. */
  #nodePayload(id: string, layer: Descriptor): Uint8Array | undefined {
    if (!this.#options.hasNodeKeys || !DECODERS.includes(id)) return undefined;
    const { mediaType, digest, sizeBytes, annotations } = layer;
    const payload = {
      DecryptConfig: { Parameters: null },
      Descriptor: {
        mediaType,
        digest,
        size: sizeBytes,
        ...(annotations.size === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
      },
    };
    return Any.encode({ typeUrl: DECODER_PAYLOAD, value: Buffer.from(JSON.stringify(payload)) });
  }
}
