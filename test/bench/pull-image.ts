// The image that pulls are measured with: some 300 MB in six layers, with files of the sizes and the compressibility that
// system images have. The same bytes each time.
import { createHash } from 'node:crypto';
import { type BuiltImage, buildImage, type LayerCompression } from '../fixtures/oci-image.ts';
import type { FileEntry } from '../fixtures/rootfs.ts';

const LAYERS = 6;
const LAYER_BYTES = 50_000_000;
/** From a page to some megabytes: a few large libraries, many small texts. */
const SIZES = [700, 1500, 4000, 9000, 20_000, 60_000, 200_000, 1_500_000];

/** Bytes that shrink to some two fifths: runs of noise between words that come again. */
function content(seed: string, sizeBytes: number): Buffer {
  const words = Buffer.from(`${seed} symbol table of the library, version 2.36; `.repeat(40));
  const bytes = Buffer.alloc(sizeBytes);
  let at = 0;
  for (let i = 0; at < sizeBytes; i++) {
    const noise = createHash('sha512').update(`${seed} ${i}`).digest();
    at += noise.copy(bytes, at);
    const length = 60 + ((noise[0] ?? 0) & 0x7f);
    at += words.copy(bytes, at, noise[1], (noise[1] ?? 0) + length);
  }
  return bytes;
}

/** Builds it; takes some seconds. */
export async function pullImage(compression: LayerCompression): Promise<BuiltImage> {
  const layers: FileEntry[][] = [];
  for (let layer = 0; layer < LAYERS; layer++) {
    const entries: FileEntry[] = [];
    let left = LAYER_BYTES;
    for (let i = 0; left > 0; i++) {
      const directory = `usr/share/part-${layer}/${i % 40}`;
      if (i < 40) entries.push({ path: directory, kind: 'directory' });
      const size = Math.min(left, SIZES[(i * 7 + layer) % SIZES.length] ?? 0);
      left -= size;
      entries.push({
        path: `${directory}/file-${i}`,
        kind: 'file',
        content: content(`${layer}/${i}`, size),
      });
    }
    layers.push(entries);
  }
  return await buildImage({ name: 'bench.local/pull:latest', layers, compression });
}
