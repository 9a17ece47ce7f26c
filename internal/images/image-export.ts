/** Writes images as the tar of an OCI image layout that `docker load` reads too (manifest.json). */
import { type Pack, pack } from 'tar-stream';
import type { ContentStore } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { Scope } from '../metadata/scope.ts';
import {
  bestPlatform,
  childrenOf,
  formatPlatform,
  hostPlatform,
  isForeignLayer,
  isSamePlatform,
  mediaKind,
  type Platform,
  splitDigest,
} from '../oci/index.ts';
import { familiarReference, parseReference } from '../registry/reference.ts';
import { readDocument } from './image-content.ts';
import { IMAGE_NAME_ANNOTATION, REF_NAME_ANNOTATION } from './image-names.ts';
import type { Descriptor, Image } from './image-store.ts';

export interface ExportOptions {
  readonly platforms: readonly Platform[];
  readonly hasAllPlatforms: boolean;
  /** Whether manifest.json is left out. */
  readonly skipsDockerManifest: boolean;
  /** Whether layers that must not be passed on are left out. */
  readonly skipsForeignLayers: boolean;
}

/** The archive of `images` as a stream of bytes. What is missing is said before the first byte. */
export async function exportImages(
  content: ContentStore,
  scope: Scope,
  images: readonly Image[],
  options: ExportOptions,
): Promise<AsyncIterable<Buffer>> {
  const plan = new ExportPlan(content, scope, options);
  for (const image of images) await plan.add(image);
  const tar = pack();
  void plan.write(tar).then(
    () => tar.finalize(),
    (error: unknown) => tar.destroy(TsError.from(error)),
  );
  return tar as AsyncIterable<Buffer>;
}

/** A manifest for manifest.json with the names it has. */
interface SavedManifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly names: string[];
}

class ExportPlan {
  readonly #content: ContentStore;
  readonly #scope: Scope;
  readonly #options: ExportOptions;
  readonly #platforms: readonly Platform[];
  readonly #blobs = new Map<string, Descriptor>();
  readonly #index: object[] = [];
  readonly #saved = new Map<string, SavedManifest>();

  constructor(content: ContentStore, scope: Scope, options: ExportOptions) {
    this.#content = content;
    this.#scope = scope;
    this.#options = options;
    this.#platforms = options.platforms.length > 0 ? options.platforms : [hostPlatform()];
  }

  async add({ name, target }: Image): Promise<void> {
    this.#index.push({
      mediaType: target.mediaType,
      digest: target.digest,
      size: target.sizeBytes,
      annotations: {
        ...Object.fromEntries(target.annotations),
        [IMAGE_NAME_ANNOTATION]: name,
        [REF_NAME_ANNOTATION]: refName(name),
      },
    });
    const kind = mediaKind(target.mediaType);
    if (kind === 'manifest') await this.#manifest(target, name);
    else if (kind === 'index') await this.#indexOf(target, name);
    else throw new TsError('InvalidArgument', `export ${name}: ${target.mediaType} is no image`);
  }

  async #indexOf(descriptor: Descriptor, name: string): Promise<void> {
    this.#blobs.set(descriptor.digest, descriptor);
    const document = await readDocument(this.#content, this.#scope, descriptor);
    const children = childrenOf(document);
    const best = bestPlatform(this.#platforms, children, (child) => child.platform) ?? children[0];
    let exported = 0;
    for (const child of children) {
      const { platform } = child;
      const isWanted =
        this.#options.hasAllPlatforms ||
        platform === undefined ||
        this.#platforms.some((wish) => isSamePlatform(wish, platform));
      if (!isWanted) continue;
      exported++;
      if (mediaKind(child.mediaType) === 'index') await this.#indexOf(child, '');
      else await this.#manifest(child, child === best ? name : undefined);
    }
    if (exported === 0) {
      const wanted = this.#platforms.map(formatPlatform).join(', ');
      throw new TsError('NotFound', `export ${name}: no manifest found for platform ${wanted}`);
    }
  }

  /** `name` undefined: of a platform that manifest.json, which knows only one, does not have. */
  async #manifest(descriptor: Descriptor, name: string | undefined): Promise<void> {
    this.#blobs.set(descriptor.digest, descriptor);
    const document = await readDocument(this.#content, this.#scope, descriptor);
    if (document.kind !== 'manifest') return;
    for (const child of childrenOf(document)) {
      if (this.#options.skipsForeignLayers && isForeignLayer(child.mediaType)) continue;
      this.#content.info(this.#scope, child.digest);
      this.#blobs.set(child.digest, child);
    }
    if (name === undefined) return;
    const { config, layers } = document;
    const saved = this.#saved.get(descriptor.digest) ?? { config, layers, names: [] };
    if (name !== '') saved.names.push(name);
    this.#saved.set(descriptor.digest, saved);
  }

  /** Writes everything in the order of paths, so that equal images give equal archives. */
  async write(tar: Pack): Promise<void> {
    const algorithms = new Set(
      [...this.#blobs.values()].map((b) => splitDigest(b.digest).algorithm),
    );
    addDirectory(tar, 'blobs/');
    for (const algorithm of [...algorithms].sort()) {
      addDirectory(tar, `blobs/${algorithm}/`);
      const blobs = [...this.#blobs.values()]
        .filter((blob) => splitDigest(blob.digest).algorithm === algorithm)
        .sort((a, b) => (a.digest < b.digest ? -1 : 1));
      for (const blob of blobs) await this.#blob(tar, blob);
    }
    addDocument(tar, 'index.json', { schemaVersion: 2, manifests: this.#index });
    if (!this.#options.skipsDockerManifest && this.#saved.size > 0) {
      addDocument(tar, 'manifest.json', [...this.#saved.values()].map(dockerManifest));
    }
    addDocument(tar, 'oci-layout', { imageLayoutVersion: '1.0.0' });
  }

  async #blob(tar: Pack, { digest }: Descriptor): Promise<void> {
    const size = this.#content.info(this.#scope, digest).sizeBytes;
    const entry = tar.entry({ ...HEADER, name: pathOf(digest), mode: 0o444, size });
    for await (const chunk of this.#content.read(this.#scope, digest)) {
      this.#scope.signal?.throwIfAborted();
      if (entry.write(chunk)) continue;
      await new Promise<void>((resolve, reject) => {
        entry.once('drain', resolve);
        entry.once('close', () => reject(new TsError('Canceled', 'context canceled')));
      });
    }
    entry.end(null);
  }
}

const HEADER = { uid: 0, gid: 0, mtime: new Date(0) };

function addDirectory(tar: Pack, name: string): void {
  tar.entry({ ...HEADER, name, type: 'directory', mode: 0o755 });
}

function addDocument(tar: Pack, name: string, json: object): void {
  tar.entry({ ...HEADER, name, mode: 0o644 }, JSON.stringify(json));
}

function dockerManifest({ config, layers, names }: SavedManifest): object {
  return {
    Config: pathOf(config.digest),
    RepoTags: names.map(familiarReference),
    Layers: layers.map(({ digest }) => pathOf(digest)),
  };
}

function pathOf(digest: Descriptor['digest']): string {
  const { algorithm, hex } = splitDigest(digest);
  return `blobs/${algorithm}/${hex}`;
}

/** What OCI calls the name of a reference: the tag or digest alone. */
function refName(name: string): string {
  try {
    const { tag, digest } = parseReference(name);
    return tag ?? digest ?? name;
  } catch {
    return name; // not every image's name is a reference: it is kept as it is
  }
}
