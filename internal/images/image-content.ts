/** The documents of an image in the content store: reading them, writing them, labels of the collector. */
import { createHash } from 'node:crypto';
import type { ContentStore, Digest } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { Labels, Scope } from '../metadata/scope.ts';
import {
  type ImageConfig,
  type ImageDocument,
  MAX_DOCUMENT_BYTES,
  parseConfig,
  parseDocument,
  refKey,
} from '../oci/index.ts';
import type { Descriptor } from './image-store.ts';

const NO_LABELS: Labels = new Map();

/** Reads an index or manifest. */
export async function readDocument(
  content: ContentStore,
  scope: Scope,
  descriptor: Descriptor,
): Promise<ImageDocument> {
  const bytes = await content.readAll(scope, descriptor.digest, MAX_DOCUMENT_BYTES);
  return parseDocument(bytes, descriptor);
}

/** Reads an image's config. */
export async function readConfig(
  content: ContentStore,
  scope: Scope,
  digest: Digest,
): Promise<ImageConfig> {
  return parseConfig(await content.readAll(scope, digest, MAX_DOCUMENT_BYTES), digest);
}

/** Adds labels to a blob, leaving others as they are. */
export function addLabels(
  content: ContentStore,
  scope: Scope,
  digest: string,
  labels: Labels,
): void {
  if (labels.size === 0) return;
  content.update(
    scope,
    digest,
    labels,
    [...labels.keys()].map((key) => `labels.${key}`),
  );
}

/** Stores a small blob that is in memory; one that is there already is fine. */
export async function writeBlob(
  content: ContentStore,
  scope: Scope,
  mediaType: string,
  bytes: Uint8Array,
  labels: Labels = NO_LABELS,
): Promise<Descriptor> {
  const digest: Digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const ref = refKey(mediaType, digest);
  try {
    await using writer = await content.writer(scope, {
      ref,
      totalBytes: bytes.length,
      expected: digest,
    });
    await writer.truncate(0);
    await writer.write(bytes);
    await writer.commit(bytes.length, digest, labels);
  } catch (error) {
    if (!isAlreadyThere(error)) throw error;
    addLabels(content, scope, digest, labels);
  }
  return { mediaType, digest, sizeBytes: bytes.length, annotations: new Map() };
}

/** Whether storing failed only since the blob is there. */
export function isAlreadyThere(error: unknown): boolean {
  return error instanceof TsError && error.kind === 'AlreadyExists';
}
