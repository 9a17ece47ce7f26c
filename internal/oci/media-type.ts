/** Media types of images (image-spec media-types.md; Docker image manifest v2 schema 2). */
export const MediaType = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  dockerIndex: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerGzipLayer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
} as const;

export const OCI_LAYER = 'application/vnd.oci.image.layer.v1.tar';
const OCI_FOREIGN_LAYER = 'application/vnd.oci.image.layer.nondistributable.v1.tar';
const DOCKER_LAYER = 'application/vnd.docker.image.rootfs.diff.tar';
const DOCKER_FOREIGN_LAYER = 'application/vnd.docker.image.rootfs.foreign.diff.tar';

const BASES = [OCI_LAYER, OCI_FOREIGN_LAYER, DOCKER_LAYER, DOCKER_FOREIGN_LAYER];
const SUFFIXES = ['', '+gzip', '.gzip', '+zstd', '.zstd'];

/** Whether a media type is that of a layer we can unpack (image-spec media-types.md; Docker v2.2). */
export function isLayerMediaType(mediaType: string): boolean {
  return BASES.some((base) => SUFFIXES.some((suffix) => mediaType === `${base}${suffix}`));
}

/** Layers that need a stream processor too: encrypted ones, `….tar+gzip+encrypted`. */
const OCI_LAYERS = 'application/vnd.oci.image.layer.';

/** What a descriptor leads to. */
export type MediaKind = 'index' | 'manifest' | 'config' | 'layer' | 'other';

export function mediaKind(mediaType: string): MediaKind {
  switch (mediaType) {
    case MediaType.ociIndex:
    case MediaType.dockerIndex:
      return 'index';
    case MediaType.ociManifest:
    case MediaType.dockerManifest:
      return 'manifest';
    case MediaType.ociConfig:
    case MediaType.dockerConfig:
      return 'config';
    default:
      return isLayerMediaType(mediaType) || mediaType.startsWith(OCI_LAYERS) ? 'layer' : 'other';
  }
}

/** Layers that licences forbid to pass on, such as those of Windows. */
export function isForeignLayer(mediaType: string): boolean {
  return /\.(?:nondistributable|foreign)\./.test(mediaType);
}

/**
 * The name of an ingest and of a line of progress for a blob, as containerd's clients make it
 * (remotes.MakeRefKey): pulls of one blob by different clients meet on it.
 */
export function refKey(mediaType: string, digest: string): string {
  const kind = mediaKind(mediaType);
  return `${kind === 'other' ? 'unknown' : kind}-${digest}`;
}
