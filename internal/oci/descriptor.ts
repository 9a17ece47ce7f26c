import type { Digest } from './digest.ts';

/** What leads to a blob: the OCI descriptor (image-spec descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly annotations: ReadonlyMap<string, string>;
}
