import type { Digest } from './digest.ts';

/** What leads to a blob: the OCI descriptor (image-spec descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly annotations: ReadonlyMap<string, string>;
  /** Where the blob is too, as the document says that names it: anybody may have written that. */
  readonly urls?: readonly string[];
}
