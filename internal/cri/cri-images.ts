import type { Image as ImageRecord } from '../api/generated/containerd.services.images.v1.ts';
import type { AuthConfig, Image, ImageSpec } from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import { TsError } from '../errors/index.ts';
import {
  formatReference,
  type ImageDetails,
  normalizeDockerReference,
  parseReference,
} from '../services/image-details.ts';
import type { CriConfig } from './cri-config.ts';
import type { DaemonServices } from './daemon-services.ts';
import type { ImageProcess } from './spec-process.ts';

/** Label of images that the kubelet's garbage collector must leave alone. */
const PINNED_LABEL = 'io.cri-containerd.pinned';
const PINNED = 'pinned';
/** Label of names that the CRI has made. */
const MANAGED_LABELS: readonly (readonly [string, string])[] = [
  ['io.cri-containerd.image', 'managed'],
];
const ID = /^(?:sha256:)?([0-9a-f]{64})$/;

/** One image under all of its names. */
export interface CriImage extends ImageDetails {
  /** `sha256:…` of the configuration. */
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly names: readonly string[];
  readonly isPinned: boolean;
  readonly process: ImageProcess;
}

/** Reads what an image is on this machine. */
export type DescribeImage = (record: ImageRecord) => Promise<ImageDetails>;

/** The images of the daemon as the CRI shows them: by the id of their configuration, each with its names. */
export class CriImages {
  readonly #services: Pick<DaemonServices, 'images' | 'pull'>;
  readonly #settings: Pick<CriConfig, 'snapshotter' | 'sandboxImage'>;
  readonly #describe: DescribeImage;
  /** By the digest that names point to: documents never change. */
  readonly #details = new Map<string, ImageDetails>();

  constructor(
    services: Pick<DaemonServices, 'images' | 'pull'>,
    settings: Pick<CriConfig, 'snapshotter' | 'sandboxImage'>,
    describe: DescribeImage,
  ) {
    this.#services = services;
    this.#settings = settings;
    this.#describe = describe;
  }

  /** All images whose content is here. */
  async list(): Promise<CriImage[]> {
    const { images: records } = await this.#services.images.list({});
    const groups = new Map<string, { details: ImageDetails; records: ImageRecord[] }>();
    for (const record of records) {
      const details = await this.#detailsOf(record);
      if (details === undefined) continue;
      const group = groups.get(details.configDigest);
      if (group === undefined) groups.set(details.configDigest, { details, records: [record] });
      else group.records.push(record);
    }
    return [...groups.values()].map(({ details, records: named }) => imageOf(details, named));
  }

  /** The image that a name or an id, or the beginning of one, means; undefined when it is not here. */
  async find(text: string): Promise<CriImage | undefined> {
    const images = await this.list();
    const id = ID.exec(text)?.[1];
    const byId = id === undefined ? undefined : images.find((image) => image.id === `sha256:${id}`);
    if (byId !== undefined) return byId;
    const name = normalized(text);
    const byName =
      name === undefined ? undefined : images.find((image) => image.names.includes(name));
    if (byName !== undefined) return byName;
    const start = /^(?:sha256:)?([0-9a-f]{4,64})$/.exec(text)?.[1];
    if (start === undefined) return undefined;
    const matches = images.filter((image) => image.id.startsWith(`sha256:${start}`));
    if (matches.length > 1) {
      throw new TsError(
        'InvalidArgument',
        `image ${JSON.stringify(text)}: ${matches.length} ids begin so`,
      );
    }
    return matches[0];
  }

  /** As {@link find}; throws NotFound. */
  async get(text: string): Promise<CriImage> {
    const image = await this.find(text);
    if (image !== undefined) return image;
    throw new TsError('NotFound', `image ${JSON.stringify(text)}`, { advice: 'pull it first' });
  }

  /** Pulls an image and gives it its names; returns it. */
  async pull(
    text: string,
    auth: AuthConfig | undefined,
    signal: AbortSignal,
    snapshotter = '',
  ): Promise<CriImage> {
    const reference = normalizeDockerReference(text);
    await this.#services.pull({
      reference,
      auth,
      snapshotter: snapshotter || this.#settings.snapshotter,
      signal,
    });
    const { image: record } = await this.#services.images.get({ name: reference });
    if (record?.target === undefined)
      throw new TsError('Internal', `internal error: image ${reference} without a target`);
    const details = await this.#detailsOf(record);
    if (details === undefined)
      throw new TsError('DataLoss', `image ${reference}: its documents are not there`);
    const { host, repository } = parseReference(reference);
    const byDigest = formatReference({
      host,
      repository,
      tag: undefined,
      digest: record.target.digest,
    });
    for (const name of [reference, byDigest, details.configDigest]) await this.#name(name, record);
    return await this.get(details.configDigest);
  }

  /** Removes an image under all of its names; one that is not here is success. */
  async remove(text: string): Promise<void> {
    const image = await this.find(text);
    if (image === undefined) return;
    for (const [index, name] of image.names.entries()) {
      // The last removal waits until the disk has been given back.
      await this.#services.images
        .delete({ name, sync: index === image.names.length - 1 })
        .catch((thrown: unknown) => {
          if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
        });
    }
  }

  async #name(name: string, { target, labels }: ImageRecord): Promise<void> {
    const isPinned = name === normalized(this.#settings.sandboxImage);
    const image = {
      name,
      target,
      labels: [
        ...labels,
        ...MANAGED_LABELS,
        ...(isPinned ? ([[PINNED_LABEL, PINNED]] as const) : []),
      ],
    };
    try {
      await this.#services.images.create({ image });
    } catch (thrown) {
      if (TsError.from(thrown).kind !== 'AlreadyExists') throw thrown;
      await this.#services.images.update({ image });
    }
  }

  /** Undefined for what is no image of this platform, or not wholly here: another tool's, or being pulled. */
  async #detailsOf(record: ImageRecord): Promise<ImageDetails | undefined> {
    const digest = record.target?.digest ?? '';
    const known = this.#details.get(digest);
    if (known !== undefined) return known;
    try {
      const details = await this.#describe(record);
      this.#details.set(digest, details);
      return details;
    } catch (thrown) {
      const { kind } = TsError.from(thrown);
      if (kind === 'NotFound' || kind === 'InvalidArgument') return undefined;
      throw thrown;
    }
  }
}

/** A full name of what people type; undefined when it is no name. */
export function normalized(text: string): string | undefined {
  if (text === '') return undefined;
  try {
    return normalizeDockerReference(text);
  } catch {
    return undefined; // an id, or nothing that an image could be called
  }
}

function imageOf(details: ImageDetails, records: readonly ImageRecord[]): CriImage {
  const names = records.map(({ name }) => name);
  return {
    ...details,
    id: details.configDigest,
    names,
    repoTags: names.filter((name) => !ID.test(name) && !name.includes('@')).sort(),
    repoDigests: names.filter((name) => name.includes('@')).sort(),
    isPinned: records.some(({ labels }) => labels.get(PINNED_LABEL) === PINNED),
    process: processOf(details.config),
  };
}

/** What a configuration says of the process; what is of another type is taken for absent, as Go's JSON refuses it at the pull. */
function processOf(config: Readonly<Record<string, unknown>>): ImageProcess {
  const inner = config['config'];
  const object =
    typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : {};
  const text = (key: string): string =>
    typeof object[key] === 'string' ? (object[key] as string) : '';
  const list = (key: string): string[] => {
    const value = object[key];
    return Array.isArray(value) ? value.filter((entry) => typeof entry === 'string') : [];
  };
  const volumes = object['Volumes'];
  return {
    user: text('User'),
    env: list('Env'),
    entrypoint: list('Entrypoint'),
    cmd: list('Cmd'),
    workingDir: text('WorkingDir'),
    stopSignal: text('StopSignal'),
    volumes: typeof volumes === 'object' && volumes !== null ? Object.keys(volumes) : [],
  };
}

/** An image as CRI's message. */
export function imageMessage(image: CriImage): Init<Image> {
  const [user = ''] = image.process.user.split(':');
  const isNumber = /^[0-9]+$/.test(user);
  const spec: Init<ImageSpec> = { image: '' };
  return {
    id: image.id,
    repoTags: image.repoTags,
    repoDigests: image.repoDigests,
    size: BigInt(image.sizeBytes),
    uid: isNumber ? { value: BigInt(user) } : undefined,
    username: isNumber ? '' : user,
    spec,
    pinned: image.isPinned,
  };
}
