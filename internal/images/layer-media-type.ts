import { TsError } from '../errors/index.ts';
import type { Compression } from '../snapshots/layer-stream.ts';

/** Label of a layer with the digest of its uncompressed form. */
export const UNCOMPRESSED_LABEL = 'containerd.io/uncompressed';

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

/** Refuses what is not a layer: an encrypted one, a config, a chart. */
export function checkLayerMediaType(mediaType: string, digest: string): void {
  if (isLayerMediaType(mediaType)) return;
  throw new TsError(
    'NotImplemented',
    `media type ${JSON.stringify(mediaType)} of ${digest} is not that of a tar layer`,
    { code: 'TS_LAYER_MEDIA_TYPE' },
  );
}

/** Compression of a layer that is to be made with a media type. */
export function compressionOf(mediaType: string): Compression {
  if (!isLayerMediaType(mediaType)) {
    throw new TsError('NotImplemented', `make a layer of type ${JSON.stringify(mediaType)}`);
  }
  if (/[+.]gzip$/.test(mediaType)) return 'gzip';
  return /[+.]zstd$/.test(mediaType) ? 'zstd' : 'none';
}
