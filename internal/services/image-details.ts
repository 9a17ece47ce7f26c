import type { ContentStore } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import { readDocument } from '../images/image-content.ts';
import type { Descriptor } from '../images/image-store.ts';
import { chainIds } from '../images/unpacker.ts';
import type { Scope } from '../metadata/scope.ts';
import {
  bestPlatform,
  hostPlatform,
  MAX_DOCUMENT_BYTES,
  parseConfig,
  parseObject,
} from '../oci/index.ts';

export {
  formatReference,
  normalizeDockerReference,
  parseReference,
} from '../registry/reference.ts';
export type { Credentials } from '../registry/registry-auth.ts';

/** What an image is on this machine: the manifest for its platform, and that manifest's configuration. */
export interface ImageDetails {
  readonly manifestDigest: string;
  /** The image's id, as Docker and Kubernetes have it. */
  readonly configDigest: string;
  /** The configuration (image-spec config.md) as it was written. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Bytes of the manifest, the configuration and the layers, as they are stored. */
  readonly sizeBytes: number;
  /** Name of the snapshot of all layers; '' for an image without any. */
  readonly chainId: string;
  /** Whether it is the checkpoint of a container, by the annotation that containerd 2.1 knows one by. */
  readonly isCheckpoint: boolean;
}

const CHECKPOINT_ANNOTATION = 'org.criu.checkpoint.container.name';

/** Reads the documents of an image. Throws NotFound for one without a manifest for this platform. */
export async function imageDetails(
  content: ContentStore,
  scope: Scope,
  target: Descriptor,
): Promise<ImageDetails> {
  let descriptor = target;
  for (let depth = 0; depth < 4; depth++) {
    const document = await readDocument(content, scope, descriptor);
    if (document.kind === 'manifest') {
      const { config, layers } = document;
      const bytes = await content.readAll(scope, config.digest, MAX_DOCUMENT_BYTES);
      const { diffIds } = parseConfig(bytes, config.digest);
      const parts = [descriptor, config, ...layers];
      return {
        manifestDigest: descriptor.digest,
        configDigest: config.digest,
        config: parseObject(bytes, `image config ${config.digest}`),
        sizeBytes: parts.reduce((sum, part) => sum + part.sizeBytes, 0),
        chainId: chainIds(diffIds).at(-1) ?? '',
        isCheckpoint: await isCheckpoint(content, scope, target),
      };
    }
    const best = bestPlatform([hostPlatform()], document.manifests, ({ platform }) => platform);
    if (best === undefined) break;
    descriptor = best;
  }
  throw new TsError('NotFound', `image ${target.digest}: no manifest for this machine's platform`, {
    code: 'TS_IMAGE_PLATFORM',
  });
}

async function isCheckpoint(
  content: ContentStore,
  scope: Scope,
  { digest }: Descriptor,
): Promise<boolean> {
  const bytes = await content.readAll(scope, digest, MAX_DOCUMENT_BYTES);
  const { annotations } = parseObject(bytes, `image document ${digest}`);
  return (
    typeof annotations === 'object' &&
    annotations !== null &&
    Object.hasOwn(annotations, CHECKPOINT_ANNOTATION)
  );
}
