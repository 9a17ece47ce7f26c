import { createHash } from 'node:crypto';
import { Content } from '../api/generated/containerd.services.content.v1.ts';
import type { CallOptions } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import { formatJson, type Json } from '../oci/index.ts';
import { ensureBlob } from './blob-write.ts';
import type { Client } from './client.ts';
import { type Descriptor, isIndex, isManifest, platformOf, readDocument } from './image-content.ts';
import { convertLayer, type LayerForm } from './layer-convert.ts';
import { type Platform, platformText } from './platform.ts';

/** What an image is to become. */
export interface Conversion {
  /** Form of the layers; undefined leaves them as they are. */
  readonly layers: LayerForm | undefined;
  /** Whether Docker's media types become those of OCI. */
  readonly isOci: boolean;
  /** Platforms that an index keeps; undefined keeps all. */
  readonly platforms: readonly Platform[] | undefined;
}

/** Docker's media types, each with OCI's for the same (image-spec media-types.md, "Related"). */
const OCI_TYPES: ReadonlyMap<string, string> = new Map([
  [
    'application/vnd.docker.distribution.manifest.list.v2+json',
    'application/vnd.oci.image.index.v1+json',
  ],
  [
    'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.oci.image.manifest.v1+json',
  ],
  ['application/vnd.docker.container.image.v1+json', 'application/vnd.oci.image.config.v1+json'],
  ...['', 'gzip', 'zstd'].flatMap((form): [string, string][] => {
    const [docker, oci] = form === '' ? ['', ''] : [`.${form}`, `+${form}`];
    return [
      [
        `application/vnd.docker.image.rootfs.diff.tar${docker}`,
        `application/vnd.oci.image.layer.v1.tar${oci}`,
      ],
      [
        `application/vnd.docker.image.rootfs.foreign.diff.tar${docker}`,
        `application/vnd.oci.image.layer.nondistributable.v1.tar${oci}`,
      ],
    ];
  }),
]);

type Document = Record<string, Json | undefined>;
type Labels = Map<string, string>;

/** Converts images, a blob at a time; of each only what changes is written. */
export class ImageConverter {
  readonly #client: Client;
  readonly #conversion: Conversion;
  readonly #options: CallOptions;

  /** `options` name the lease that keeps what is written. */
  constructor(client: Client, conversion: Conversion, options: CallOptions) {
    this.#client = client;
    this.#conversion = conversion;
    this.#options = options;
  }

  /** Converts what a descriptor stands for and returns the new descriptor. */
  async convert(descriptor: Descriptor): Promise<Descriptor> {
    const converted = isIndex(descriptor)
      ? await this.#index(descriptor)
      : isManifest(descriptor)
        ? await this.#manifest(descriptor)
        : await this.#blob(descriptor);
    const { isOci } = this.#conversion;
    const mediaType = (isOci && OCI_TYPES.get(converted.mediaType)) || converted.mediaType;
    return mediaType === converted.mediaType ? converted : { ...converted, mediaType };
  }

  async #blob(descriptor: Descriptor): Promise<Descriptor> {
    const { layers } = this.#conversion;
    if (layers === undefined) return descriptor;
    return (await convertLayer(this.#client, descriptor, layers, this.#options)) ?? descriptor;
  }

  async #manifest(descriptor: Descriptor): Promise<Descriptor> {
    const document = await readDocument(this.#client, descriptor);
    const labels = await this.#labels(descriptor.digest);
    const layers = list(document['layers'], `manifest ${descriptor.digest}`);
    const newLayers: Descriptor[] = [];
    for (const layer of layers) newLayers.push(await this.convert(layer));
    const [config] = list([document['config'] ?? null], `manifest ${descriptor.digest}`);
    const newConfig = config && (await this.convert(config));
    if (newConfig !== undefined)
      labels.set('containerd.io/gc.ref.content.config', newConfig.digest);
    for (const [index, layer] of newLayers.entries()) {
      labels.set(`containerd.io/gc.ref.content.l.${index}`, layer.digest);
    }
    return await this.#write(descriptor, document, labels, {
      ...(newConfig === undefined ? {} : { config: json(newConfig) }),
      layers: newLayers.map(json),
    });
  }

  async #index(descriptor: Descriptor): Promise<Descriptor> {
    const document = await readDocument(this.#client, descriptor);
    const labels = await this.#labels(descriptor.digest);
    for (const key of labels.keys()) {
      if (key.startsWith('containerd.io/gc.ref.content.')) labels.delete(key);
    }
    const manifests = list(document['manifests'], `index ${descriptor.digest}`);
    const kept = manifests.filter((each) => this.#isWanted(platformOf(each.platform)));
    if (kept.length === 0) {
      throw new TsError('NotFound', `index ${descriptor.digest}: no manifest for these platforms`, {
        advice: 'name one that it has with --platform, or take --all-platforms',
      });
    }
    const converted: Descriptor[] = [];
    for (const manifest of kept) converted.push(await this.convert(manifest));
    for (const [index, { digest }] of converted.entries()) {
      labels.set(`containerd.io/gc.ref.content.m.${index}`, digest);
    }
    return await this.#write(descriptor, document, labels, { manifests: converted.map(json) });
  }

  #isWanted(platform: Platform | undefined): boolean {
    const { platforms } = this.#conversion;
    if (platforms === undefined || platform === undefined) return true;
    // Not what also runs there: the image is to be smaller.
    return platforms.some((wanted) => platformText(wanted) === platformText(platform));
  }

  /** Writes a document with some of its fields changed, in their places; an unchanged one stays. */
  async #write(
    descriptor: Descriptor,
    document: Document,
    labels: Labels,
    changes: Record<string, Json>,
  ): Promise<Descriptor> {
    const mediaType = document['mediaType'];
    const oci = typeof mediaType === 'string' ? OCI_TYPES.get(mediaType) : undefined;
    const isRenamed = this.#conversion.isOci && oci !== undefined;
    const changed = { ...document, ...(isRenamed ? { mediaType: oci } : {}), ...changes };
    const text = formatJson(changed);
    if (text === formatJson(document)) return descriptor;
    const bytes = Buffer.from(text);
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await ensureBlob(this.#client, bytes, digest, labels, this.#options);
    return { ...descriptor, digest, size: bytes.length };
  }

  async #labels(digest: string): Promise<Labels> {
    const { info } = await this.#client.service(Content).info({ digest });
    return new Map(info?.labels);
  }
}

/** Descriptors of a document, with all that they have besides. */
function list(value: Json | undefined, what: string): Descriptor[] {
  if (!Array.isArray(value)) return [];
  return value.map((each) => {
    const { mediaType, digest, size } = (each ?? {}) as Record<string, unknown>;
    const isWhole =
      typeof mediaType === 'string' && typeof digest === 'string' && typeof size === 'number';
    if (!isWhole) throw new TsError('InvalidArgument', `${what}: a descriptor is not whole`);
    return each as unknown as Descriptor;
  });
}

function json(descriptor: Descriptor): Json {
  return descriptor as unknown as Json;
}
