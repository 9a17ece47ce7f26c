/** Where a transfer puts an image: names, labels, and the snapshots that it is unpacked into. */
import { TsError } from '../errors/index.ts';
import type { Labels, Scope } from '../metadata/scope.ts';
import type { Platform } from '../oci/index.ts';
import type { NameRule } from './image-names.ts';
import type { Descriptor, ImageStore } from './image-store.ts';

export interface ImageTarget {
  readonly name: string;
  readonly labels: Labels;
  /** Platforms whose layers are wanted; none for all. */
  readonly platforms: readonly Platform[];
  /** Whether manifests and configs of other platforms are wanted too. */
  readonly hasAllMetadata: boolean;
  /** Most manifests of an index that are taken, the best ones; 0 for no limit. */
  readonly manifestLimit: number;
  readonly names: readonly NameRule[];
  readonly unpacks: readonly UnpackTarget[];
}

export interface UnpackTarget {
  readonly platform: Platform;
  /** Plugin id; '' for the default. */
  readonly snapshotter: string;
}

/** What is unpacked into when a client does not say. */
export const DEFAULT_SNAPSHOTTER = 'overlayfs';

/** Creates images with the given names, or makes existing ones point to `target`. */
export function storeImages(
  images: ImageStore,
  scope: Scope,
  target: Descriptor,
  names: readonly string[],
  labels: Labels,
): void {
  for (const name of names) {
    const image = { name, labels, target };
    try {
      images.create(scope, image);
    } catch (error) {
      if (!(error instanceof TsError) || error.kind !== 'AlreadyExists') throw error;
      images.update(scope, image, []);
    }
  }
}
