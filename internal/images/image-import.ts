import type { ContentStore } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { Scope } from '../metadata/scope.ts';
import {
  childLabels,
  childrenOf,
  hostPlatform,
  type ImageReference,
  isSamePlatform,
  MediaType,
  mediaKind,
  type Platform,
  parseObject,
} from '../oci/index.ts';
import { type ArchiveContents, readArchive } from './archive-reader.ts';
import { dockerIndex } from './docker-archive.ts';
import { addLabels, readDocument, writeBlob } from './image-content.ts';
import type { Descriptor } from './image-store.ts';

/** An image manifest that an archive brought, complete with config and layers. */
export interface ImportedManifest {
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export interface Imported {
  /** The archive's index as a blob. */
  readonly index: Descriptor;
  /** What the index lists: images with their names in annotations. */
  readonly images: readonly ImageReference[];
  /** All manifests that are complete, nested ones too. */
  readonly manifests: readonly ImportedManifest[];
}

/**
 * Stores an image archive and labels its documents for the collector. Must run under a lease. An
 * archive that misses a blob, or has one with another digest than its name says, is refused, and
 * the error names the blob.
 */
export async function importArchive(
  content: ContentStore,
  scope: Scope,
  source: AsyncIterable<Buffer>,
  options: { platforms: readonly Platform[]; isCompressed: boolean },
): Promise<Imported> {
  const archive = await readArchive(content, scope, source);
  const index = await storeIndex(content, scope, archive, options.isCompressed);
  const walk = new ImportWalk(content, scope, options.platforms);
  const images = await walk.index(index, true);
  return { index, images, manifests: walk.manifests };
}

async function storeIndex(
  content: ContentStore,
  scope: Scope,
  archive: ArchiveContents,
  isCompressed: boolean,
): Promise<Descriptor> {
  const layout = archive.documents.get('oci-layout');
  const index = archive.documents.get('index.json');
  const manifest = archive.documents.get('manifest.json');
  if (layout !== undefined) {
    const version = parseObject(layout, 'image archive: oci-layout')['imageLayoutVersion'];
    if (version !== '1.0.0') {
      throw invalid(`oci-layout: imageLayoutVersion ${JSON.stringify(version)} is not 1.0.0`);
    }
    if (index === undefined) throw invalid('index.json is missing');
    return await writeBlob(content, scope, MediaType.ociIndex, index);
  }
  if (manifest === undefined) {
    throw invalid('it has neither oci-layout nor manifest.json: unrecognized image format');
  }
  return await dockerIndex(content, scope, manifest, archive.blobs, isCompressed);
}

/** Follows an index down to the layers. */
class ImportWalk {
  readonly manifests: ImportedManifest[] = [];
  readonly #content: ContentStore;
  readonly #scope: Scope;
  readonly #platforms: readonly Platform[];
  readonly #visited = new Set<string>();

  constructor(content: ContentStore, scope: Scope, platforms: readonly Platform[]) {
    this.#content = content;
    this.#scope = scope;
    this.#platforms = platforms;
  }

  /** Takes an index; returns its references. */
  async index(descriptor: Descriptor, isTop: boolean): Promise<readonly ImageReference[]> {
    const document = await readDocument(this.#content, this.#scope, descriptor);
    const children = childrenOf(document);
    addLabels(this.#content, this.#scope, descriptor.digest, childLabels(children));
    let found = 0;
    for (const child of children) {
      if (this.#visited.has(child.digest)) found++;
      else if (await this.#child(child, isTop)) found++;
    }
    if (!isTop && found === 0 && children.length > 0) {
      throw missing(children[0] ?? descriptor, 'none of the manifests of an index is in it');
    }
    return children;
  }

  /**
   * Takes a manifest or nested index; false when it is not in the archive. Archives with one
   * platform of several keep the index of all (`ctr images export`, `docker save`).
   */
  async #child(child: ImageReference, isTop: boolean): Promise<boolean> {
    this.#visited.add(child.digest);
    const kind = mediaKind(child.mediaType);
    if (kind !== 'index' && kind !== 'manifest') return true;
    if (!this.#has(child)) {
      if (isTop || this.#isWanted(child.platform)) throw missing(child);
      return false;
    }
    if (kind === 'index') await this.index(child, false);
    else await this.#manifest(child);
    return true;
  }

  async #manifest(descriptor: ImageReference): Promise<void> {
    const document = await readDocument(this.#content, this.#scope, descriptor);
    if (document.kind !== 'manifest') return;
    const children = childrenOf(document);
    const absent = children.find((child) => !this.#has(child));
    if (absent !== undefined) {
      if (this.#isWanted(descriptor.platform)) throw missing(absent);
      return; // the manifest of another platform, without its layers
    }
    for (const child of children) this.#checkSize(child);
    addLabels(this.#content, this.#scope, descriptor.digest, childLabels(children));
    const { config, layers } = document;
    this.manifests.push({ manifest: descriptor, config, layers });
  }

  #has(descriptor: Descriptor): boolean {
    try {
      this.#content.info(this.#scope, descriptor.digest);
      return true;
    } catch (error) {
      if (error instanceof TsError && error.kind === 'NotFound') return false;
      throw error;
    }
  }

  #checkSize({ digest, sizeBytes }: Descriptor): void {
    const stored = this.#content.info(this.#scope, digest).sizeBytes;
    if (stored !== sizeBytes) {
      throw invalid(`${digest} has ${stored} bytes, its manifest says ${sizeBytes}`);
    }
  }

  /** Without wishes it is this machine's images that must be whole. */
  #isWanted(platform: Platform | undefined): boolean {
    if (platform === undefined) return true;
    const wanted = this.#platforms.length === 0 ? [hostPlatform()] : this.#platforms;
    return wanted.some((wish) => isSamePlatform(wish, platform));
  }
}

function missing(descriptor: Descriptor, why = 'it is not in it'): TsError {
  const { digest, mediaType } = descriptor;
  return new TsError('DataLoss', `image archive: ${mediaType} ${digest}: ${why}`, {
    code: 'TS_ARCHIVE_INCOMPLETE',
    advice: 'the archive was cut off, or made without all that its index lists',
  });
}

function invalid(text: string): TsError {
  return new TsError('InvalidArgument', `image archive: ${text}`, { code: 'TS_ARCHIVE_INVALID' });
}
