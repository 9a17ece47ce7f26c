import { TsError } from '../errors/index.ts';
import { isLayerMediaType } from '../oci/index.ts';
import type { Compression } from '../snapshots/layer-stream.ts';

/** Label of a layer with the digest of its uncompressed form. */
export const UNCOMPRESSED_LABEL = 'containerd.io/uncompressed';

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
