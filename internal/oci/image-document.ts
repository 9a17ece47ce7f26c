/**
 * Manifests, indexes and configs as JSON (image-spec manifest.md, image-index.md, config.md).
 *
 * The attacks: a document that is a manifest to one reader and an index to another (CVE-2021-41190)
 * is refused, and so is one whose media type is not what its descriptor said; sizes and numbers of
 * references are limited before anything is kept (CVE-2023-25153).
 */

import { TsError } from '../errors/index.ts';
import type { Descriptor } from './descriptor.ts';
import { isDigest } from './digest.ts';
import { mediaKind } from './media-type.ts';
import type { Platform } from './platform.ts';

/** Largest manifest, index or config that is read into memory, as registries limit them. */
export const MAX_DOCUMENT_BYTES = 4 << 20;
/** Most references of one document. */
const MAX_REFERENCES = 10_000;
/** Most `urls` of one descriptor. */
const MAX_URLS = 16;

/** A descriptor inside a document; of an index it may say the platform. */
export interface ImageReference extends Descriptor {
  readonly platform: Platform | undefined;
}

export type ImageDocument =
  | { readonly kind: 'index'; readonly manifests: readonly ImageReference[] }
  | {
      readonly kind: 'manifest';
      readonly config: ImageReference;
      readonly layers: readonly ImageReference[];
    };

/** What an image's config says to the daemon. */
export interface ImageConfig {
  readonly platform: Platform | undefined;
  readonly diffIds: readonly string[];
}

/** Parses an index or manifest; `descriptor` is what led to it. Throws InvalidArgument. */
export function parseDocument(bytes: Uint8Array, descriptor: Descriptor): ImageDocument {
  const what = `image document ${descriptor.digest}`;
  const json = parseObject(bytes, what);
  const declared = json['mediaType'];
  if (declared !== undefined && declared !== '' && declared !== descriptor.mediaType) {
    throw invalid(`${what}: mediaType ${JSON.stringify(declared)} is not ${descriptor.mediaType}`);
  }
  const has = (key: string): boolean => json[key] !== undefined && json[key] !== null;
  const isManifest = has('config') || has('layers') || has('fsLayers');
  if (isManifest && has('manifests')) {
    throw invalid(`${what}: it has both layers and manifests`);
  }
  if (mediaKind(descriptor.mediaType) === 'index') {
    if (isManifest) throw invalid(`${what}: an index must not have layers`);
    return { kind: 'index', manifests: references(json['manifests'], `${what}: manifests`) };
  }
  if (has('manifests')) throw invalid(`${what}: a manifest must not have manifests`);
  if (has('fsLayers')) {
    throw invalid(`${what}: schema 1 manifests are no longer supported`);
  }
  return {
    kind: 'manifest',
    config: reference(json['config'], `${what}: config`),
    layers: references(json['layers'] ?? [], `${what}: layers`),
  };
}

/** Parses an image's config. */
export function parseConfig(bytes: Uint8Array, digest: string): ImageConfig {
  const what = `image config ${digest}`;
  const json = parseObject(bytes, what);
  const rootfs = json['rootfs'];
  const diffIds =
    typeof rootfs === 'object' && rootfs !== null
      ? (rootfs as Record<string, unknown>)['diff_ids']
      : undefined;
  if (!Array.isArray(diffIds)) throw invalid(`${what}: rootfs.diff_ids is missing`);
  for (const [index, diffId] of diffIds.entries()) {
    if (typeof diffId !== 'string' || !isDigest(diffId)) {
      throw invalid(`${what}: rootfs.diff_ids[${index}] is not a digest`);
    }
  }
  return { platform: parsePlatform(json), diffIds: diffIds as string[] };
}

/** Parses JSON that must be an object; `what` comes first in the error. */
export function parseObject(bytes: Uint8Array, what: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new TsError('InvalidArgument', `${what} is not JSON: ${(error as Error).message}`, {
      cause: error,
    });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw invalid(`${what} is not a JSON object`);
  }
  return json as Record<string, unknown>;
}

function references(value: unknown, what: string): ImageReference[] {
  if (!Array.isArray(value)) throw invalid(`${what} is not a list`);
  if (value.length > MAX_REFERENCES) {
    throw new TsError('ResourceExhausted', `${what}: ${value.length} are more than accepted`);
  }
  return value.map((item, index) => reference(item, `${what}[${index}]`));
}

function reference(value: unknown, what: string): ImageReference {
  if (typeof value !== 'object' || value === null) throw invalid(`${what} is not a descriptor`);
  const { mediaType, digest, size, annotations, platform, urls } = value as Record<string, unknown>;
  if (typeof mediaType !== 'string') throw invalid(`${what}: mediaType is missing`);
  if (typeof digest !== 'string' || !isDigest(digest)) {
    throw invalid(`${what}: ${JSON.stringify(digest)} is not a digest`);
  }
  if (!Number.isSafeInteger(size) || (size as number) < 0) {
    throw invalid(`${what}: size ${JSON.stringify(size)}`);
  }
  return {
    mediaType,
    digest,
    sizeBytes: size as number,
    annotations: stringMap(annotations, what),
    platform: parsePlatform(platform),
    ...(urls === undefined || urls === null ? {} : { urls: strings(urls, `${what}: urls`) }),
  };
}

/** A platform from JSON of an index or a config; undefined when it names none. */
function parsePlatform(value: unknown): Platform | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { os, architecture, variant = '' } = value as Record<string, unknown>;
  if (typeof os !== 'string' || typeof architecture !== 'string' || os === '') return undefined;
  if (typeof variant !== 'string') {
    throw new TsError('InvalidArgument', `platform ${os}/${architecture}: variant is not a string`);
  }
  return { os, architecture, variant };
}

function strings(value: unknown, what: string): string[] {
  const isList = Array.isArray(value) && value.every((each) => typeof each === 'string');
  if (!isList) throw invalid(`${what} is not a list of strings`);
  if (value.length > MAX_URLS) {
    throw new TsError('ResourceExhausted', `${what}: ${value.length} are more than accepted`);
  }
  return value;
}

function stringMap(value: unknown, what: string): Map<string, string> {
  if (value === undefined || value === null) return new Map();
  const entries = typeof value === 'object' ? Object.entries(value) : [];
  for (const [key, text] of entries) {
    if (typeof text !== 'string') throw invalid(`${what}: annotation ${key} is not a string`);
  }
  return new Map(entries as [string, string][]);
}

function invalid(text: string): TsError {
  return new TsError('InvalidArgument', text, { code: 'TS_IMAGE_DOCUMENT' });
}

/** All that a document refers to, in order. */
export function childrenOf(document: ImageDocument): readonly ImageReference[] {
  return document.kind === 'index' ? document.manifests : [document.config, ...document.layers];
}
