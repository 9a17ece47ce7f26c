import { Images } from '../../api/generated/containerd.services.images.v1.ts';
import { TsError } from '../../errors/index.ts';
import type { Command, CommandContext } from '../command.ts';
import { imageTarget } from '../image-content.ts';
import { type Conversion, ImageConverter } from '../image-convert.ts';
import { storeImage } from '../image-store.ts';
import { argument } from '../labels.ts';
import { hostPlatform, parsePlatform } from '../platform.ts';
import { withLease } from '../work-lease.ts';

/** `tsctr images convert`. */
export const CONVERT: Command = {
  name: 'convert',
  summary: 'make an image of another: of OCI, with other layers, with fewer platforms',
  usage: '<source ref> <target ref>',
  objects: ['image', 'text'],
  flags: {
    uncompress: { type: 'bool', usage: 'layers as archives that are not compressed' },
    zstd: { type: 'bool', usage: 'layers compressed by zstd' },
    oci: { type: 'bool', usage: "media types of OCI in the place of Docker's" },
    platform: {
      type: 'string[]',
      usage: 'platform to keep (repeatable; default: the one of this machine)',
    },
    'all-platforms': { type: 'bool', usage: 'keep all platforms, which must be here' },
  },
  async run(context) {
    const { client, args, flags, output } = context;
    const missing = 'src and target image need to be specified';
    const source = argument(args, 0, missing);
    const target = argument(args, 1, missing);
    const conversion = conversionOf(flags);
    const { image } = await client.service(Images).get({ name: source });
    const digest = await withLease(client, async (options) => {
      const descriptor = await imageTarget(client, source);
      const converted = await new ImageConverter(client, conversion, options).convert(descriptor);
      const { mediaType, digest, size } = converted;
      const record = {
        name: target,
        target: { mediaType, digest, size: BigInt(size) },
        labels: image?.labels ?? new Map(),
      };
      await storeImage(client, record);
      return digest;
    });
    if (output.format === 'json') output.json({ name: target, digest });
    else output.line(digest);
  },
};

function conversionOf(flags: CommandContext['flags']): Conversion {
  const [isPlain, isZstd] = [flags.bool('uncompress'), flags.bool('zstd')];
  if (isPlain && isZstd) {
    throw new TsError('InvalidArgument', '--uncompress and --zstd exclude each other');
  }
  const named = flags.strings('platform').map(parsePlatform);
  const platforms = named.length === 0 ? [hostPlatform()] : named;
  return {
    layers: isPlain ? 'uncompressed' : isZstd ? 'zstd' : undefined,
    isOci: flags.bool('oci'),
    platforms: flags.bool('all-platforms') ? undefined : platforms,
  };
}
