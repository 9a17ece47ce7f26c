/** What `docker save` writes (manifest.json, Docker image spec v1.2) as OCI index and manifests. */

import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { ContentStore, Digest } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { Scope } from '../metadata/scope.ts';
import { MediaType } from '../oci/index.ts';
import { normalizeDockerReference, parseReference } from '../registry/reference.ts';
import { detectCompression } from '../snapshots/layer-stream.ts';
import type { ArchiveBlob } from './archive-reader.ts';
import { isAlreadyThere, readConfig, writeBlob } from './image-content.ts';
import { IMAGE_NAME_ANNOTATION, REF_NAME_ANNOTATION } from './image-names.ts';
import type { Descriptor } from './image-store.ts';
import { UNCOMPRESSED_LABEL } from './layer-media-type.ts';

interface SavedImage {
  readonly config: string;
  readonly repoTags: readonly string[];
  readonly layers: readonly string[];
}

/** Writes an index for the images of `manifest.json`, and their manifests; returns the index. */
export async function dockerIndex(
  content: ContentStore,
  scope: Scope,
  manifestJson: Buffer,
  blobs: ReadonlyMap<string, ArchiveBlob>,
  isCompressed: boolean,
): Promise<Descriptor> {
  const manifests: object[] = [];
  const layers = new DockerLayers(content, scope, blobs, isCompressed);
  for (const image of parseSaved(manifestJson)) {
    const config = blobOf(blobs, image.config, 'config');
    checkConfigName(image.config, config.digest);
    const configDescriptor = { mediaType: MediaType.dockerConfig, ...jsonOf(config) };
    const manifest = {
      schemaVersion: 2,
      mediaType: MediaType.dockerManifest,
      config: configDescriptor,
      layers: await Promise.all(image.layers.map((path) => layers.descriptor(path))),
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const written = await writeBlob(content, scope, MediaType.dockerManifest, bytes);
    const { platform } = await readConfig(content, scope, config.digest);
    const entry = {
      mediaType: written.mediaType,
      ...jsonOf(written),
      ...(platform === undefined ? {} : { platform: withoutEmpty(platform) }),
    };
    if (image.repoTags.length === 0) manifests.push(entry);
    for (const tag of image.repoTags) manifests.push({ ...entry, annotations: nameOf(tag) });
  }
  const index = { schemaVersion: 2, manifests };
  const bytes = Buffer.from(JSON.stringify(index));
  return await writeBlob(content, scope, MediaType.ociIndex, bytes);
}

/** Layers of the archive as descriptors; a layer that several images have is looked at once. */
class DockerLayers {
  readonly #content: ContentStore;
  readonly #scope: Scope;
  readonly #blobs: ReadonlyMap<string, ArchiveBlob>;
  readonly #isCompressed: boolean;
  readonly #known = new Map<Digest, Promise<object>>();

  constructor(
    content: ContentStore,
    scope: Scope,
    blobs: ReadonlyMap<string, ArchiveBlob>,
    isCompressed: boolean,
  ) {
    this.#content = content;
    this.#scope = scope;
    this.#blobs = blobs;
    this.#isCompressed = isCompressed;
  }

  descriptor(path: string): Promise<object> {
    const blob = blobOf(this.#blobs, path, 'layer');
    const known = this.#known.get(blob.digest) ?? this.#describe(blob);
    this.#known.set(blob.digest, known);
    return known;
  }

  async #describe(blob: ArchiveBlob): Promise<object> {
    // The store may have the layer already, compressed, from a registry.
    const filter = `labels."${UNCOMPRESSED_LABEL}"==${blob.digest}`;
    const [stored] = this.#content
      .list(this.#scope, [filter])
      .filter(({ digest }) => digest !== blob.digest);
    const found = stored ?? blob;
    const head: Buffer[] = [];
    const read = this.#content.read(this.#scope, found.digest, 0, 4);
    for await (const chunk of read) head.push(chunk);
    if (detectCompression(Buffer.concat(head)) !== 'none') {
      return { mediaType: MediaType.dockerGzipLayer, ...jsonOf(found) };
    }
    if (!this.#isCompressed) return { mediaType: MediaType.dockerLayer, ...jsonOf(found) };
    return { mediaType: MediaType.dockerGzipLayer, ...jsonOf(await this.#compress(blob)) };
  }

  async #compress(blob: ArchiveBlob): Promise<ArchiveBlob> {
    const ref = `compress-blob-${blob.digest.replace(':', '-')}`;
    const labels = new Map([[UNCOMPRESSED_LABEL, blob.digest]]);
    await using writer = await this.#content.writer(this.#scope, { ref });
    await writer.truncate(0);
    const plain = this.#content.read(this.#scope, blob.digest);
    await pipeline(plain, createGzip(), async (compressed: AsyncIterable<Buffer>) => {
      for await (const chunk of compressed) await writer.write(chunk);
    });
    const sizeBytes = writer.status.offsetBytes;
    const digest = writer.digest();
    try {
      await writer.commit(sizeBytes, digest, labels);
    } catch (error) {
      if (!isAlreadyThere(error)) throw error;
    }
    return { digest, sizeBytes };
  }
}

function jsonOf({ digest, sizeBytes }: ArchiveBlob): { digest: string; size: number } {
  return { digest, size: sizeBytes };
}

function withoutEmpty(platform: object): object {
  return Object.fromEntries(Object.entries(platform).filter(([, value]) => value !== ''));
}

function nameOf(tag: string): Record<string, string> {
  const name = normalizeDockerReference(tag);
  const { tag: plainTag, digest } = parseReference(name);
  return { [IMAGE_NAME_ANNOTATION]: name, [REF_NAME_ANNOTATION]: plainTag ?? digest ?? name };
}

function blobOf(blobs: ReadonlyMap<string, ArchiveBlob>, path: string, what: string): ArchiveBlob {
  const blob = blobs.get(path.replace(/^\.\//, ''));
  if (blob === undefined) {
    throw new TsError('DataLoss', `image archive: ${what} ${path} is not in it`, {
      code: 'TS_ARCHIVE_INCOMPLETE',
    });
  }
  return blob;
}

/** `docker save` names a config after its digest, which says when it was changed. */
function checkConfigName(path: string, digest: Digest): void {
  const match = /^([0-9a-f]{64})\.json$/.exec(path);
  if (match === null || digest === `sha256:${match[1]}`) return;
  throw new TsError(
    'FailedPrecondition',
    `image archive: ${path} has the digest ${digest}: digest mismatch`,
    { code: 'TS_ARCHIVE_DIGEST_MISMATCH', advice: 'the archive was damaged or changed' },
  );
}

function parseSaved(bytes: Buffer): SavedImage[] {
  const invalid = (why: string, cause?: unknown): TsError =>
    new TsError('InvalidArgument', `image archive: manifest.json ${why}`, {
      code: 'TS_ARCHIVE_INVALID',
      cause,
    });
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw invalid(`is not JSON: ${(error as Error).message}`, error);
  }
  if (!Array.isArray(json) || json.length === 0) throw invalid('lists no images');
  return json.map((item: unknown, index) => {
    const { Config, RepoTags, Layers } = (item ?? {}) as Record<string, unknown>;
    const strings = (value: unknown): value is string[] =>
      Array.isArray(value) && value.every((text) => typeof text === 'string');
    if (typeof Config !== 'string') throw invalid(`[${index}].Config is missing`);
    if (!strings(Layers ?? [])) throw invalid(`[${index}].Layers is not a list of paths`);
    if (!strings(RepoTags ?? [])) throw invalid(`[${index}].RepoTags is not a list of names`);
    return {
      config: Config,
      layers: (Layers ?? []) as string[],
      repoTags: (RepoTags ?? []) as string[],
    };
  });
}
