import type { ImageStore } from '../api/generated/containerd.types.transfer.ts';
import type { Platform as PlatformMessage } from '../api/generated/containerd.types.ts';
import type { ImageTarget } from '../images/image-target.ts';
import { hostPlatform, type Platform } from '../oci/index.ts';

/** Where an image is to be stored, from the message of a transfer's destination. */
export function imageTarget(store: ImageStore): ImageTarget {
  return {
    name: store.name,
    labels: store.labels,
    platforms: store.platforms.map(platformOf),
    hasAllMetadata: store.allMetadata,
    manifestLimit: store.manifestLimit,
    names: store.extraReferences.map((reference) => ({
      name: reference.name,
      isPrefix: reference.isPrefix,
      allowOverwrite: reference.allowOverwrite,
      addDigest: reference.addDigest,
      skipNamedDigest: reference.skipNamedDigest,
    })),
    unpacks: store.unpacks.map(({ platform, snapshotter }) => ({
      platform: platform === undefined ? hostPlatform() : platformOf(platform),
      snapshotter,
    })),
  };
}

export function platformOf({ os, architecture, variant }: PlatformMessage): Platform {
  return { os, architecture, variant };
}
