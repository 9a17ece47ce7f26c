import { packAny } from '../../api/any.ts';
import { ImageStore } from '../../api/generated/containerd.types.transfer.ts';
import type { Init } from '../../api/init.ts';
import type { CallOptions } from '../../api/service.ts';
import type { FlagSpecs, FlagValues } from '../../flags/flag-parser.ts';
import type { Command, CommandContext } from '../command.ts';
import {
  chainIds,
  type Descriptor,
  type ImageNode,
  imageTarget,
  manifestsOf,
  readImage,
  readManifest,
  readTree,
} from '../image-content.ts';
import { fetchLocally } from '../image-fetch.ts';
import { storeImage } from '../image-store.ts';
import { argument, labelFlags } from '../labels.ts';
import { hostPlatform, type Platform, parsePlatform, platformText } from '../platform.ts';
import { openRegistry, REGISTRY_FLAGS, registryEnd } from '../registry-flags.ts';
import { SNAPSHOTTER_FLAG, snapshotterOf } from '../snapshotter.ts';
import { transfer } from '../transfer.ts';
import { unpackImage } from '../unpack.ts';
import { withLease } from '../work-lease.ts';

const REFERENCE_MISSING = 'please provide an image reference to pull';

const CONTENT_FLAGS: FlagSpecs = {
  ...REGISTRY_FLAGS,
  label: { type: 'string[]', usage: 'label of the image (repeatable)' },
  platform: {
    type: 'string[]',
    usage: 'platform to pull (repeatable; default: the one of this machine)',
  },
  'all-platforms': { type: 'bool', usage: 'pull all platforms' },
  'skip-metadata': { type: 'bool', usage: 'leave out manifests of other platforms' },
  'all-metadata': {
    type: 'bool',
    usage: 'pull manifests of other platforms: the default, more than --skip-metadata',
  },
};

/** What the daemon's transfer has no word for: this program fetches and unpacks. */
const LOCAL_FLAGS = ['local', 'max-concurrent-downloads', 'sync-fs'];

/** `tsctr images pull`. */
export const PULL: Command = {
  name: 'pull',
  summary: 'pull an image from a registry and unpack it',
  usage: '<ref>',
  objects: ['text'],
  flags: {
    ...CONTENT_FLAGS,
    ...SNAPSHOTTER_FLAG,
    'print-chainid': { type: 'bool', usage: "print the chain ID of the image's layers" },
    local: { type: 'bool', usage: 'fetch from here rather than by the daemon' },
    'sync-fs': { type: 'bool', usage: 'write all to the disk before it counts as unpacked' },
    'max-concurrent-downloads': { type: 'int', usage: 'blobs to fetch at once (default: all)' },
  },
  async run(context) {
    const { client, flags, output } = context;
    if (LOCAL_FLAGS.some((name) => flags.has(name))) return await pullFromHere(context);
    const { reference, platforms } = await pull(context, true);
    if (!flags.bool('print-chainid')) return;
    for (const platform of platforms) {
      const { diffIds } = await readImage(client, reference, platform);
      output.line(`image chain ID: ${chainIds(diffIds).at(-1) ?? ''}`);
    }
  },
};

/** The command that pulls without unpacking. */
export function fetchCommand(name: string, summary: string): Command {
  return {
    name,
    summary,
    usage: '<ref>',
    objects: ['text'],
    flags: {
      ...CONTENT_FLAGS,
      'metadata-only': { type: 'bool', usage: 'fetch manifests and configs, and no layers' },
    },
    async run(context) {
      const { client, args, flags, output } = context;
      if (!flags.bool('metadata-only')) {
        await pull(context, false);
        return;
      }
      const reference = argument(args, 0, REFERENCE_MISSING);
      const target = await withLease(client, (call) => fetchFromHere(context, reference, call));
      if (output.format === 'json') output.json(target);
      else output.line(reference);
    },
  };
}

async function pull({ client, args, flags, output }: CommandContext, unpacks: boolean) {
  const reference = argument(args, 0, REFERENCE_MISSING);
  const platforms = platformsOf(flags);
  await using source = await registryEnd(client, reference, flags, output);
  const snapshotter = snapshotterOf(flags);
  const destination = packAny(ImageStore, {
    name: reference,
    labels: labelFlags(flags.strings('label')),
    ...storePlatforms(flags, platforms),
    allMetadata: hasAllMetadata(flags),
    unpacks: unpacks ? platforms.map((platform) => ({ platform, snapshotter })) : [],
  });
  await transfer(client, output, source.message, destination);
  if (output.format === 'json') output.json(await imageTarget(client, reference));
  else output.line(reference);
  return { reference, platforms };
}

const hasAllMetadata = (flags: FlagValues): boolean =>
  flags.bool('all-metadata') || !flags.bool('skip-metadata');

/** Fetches, stores and unpacks by calls of this program; says what ctr says of it. */
async function pullFromHere(context: CommandContext): Promise<void> {
  const { client, args, flags, output } = context;
  const startMs = performance.now();
  const reference = argument(args, 0, REFERENCE_MISSING);
  const say = (line: string): void => {
    if (output.format !== 'json') output.line(line);
  };
  await withLease(client, async (call) => {
    const target = await fetchFromHere(context, reference, call);
    const platforms = flags.bool('all-platforms')
      ? platformsIn(await readTree(client, target))
      : platformsOf(flags);
    for (const platform of platforms) {
      say(`unpacking ${platformText(platform)} ${target.digest}...`);
      const image = await readManifest(client, reference, target, platform);
      await unpackImage(client, image, snapshotterOf(flags), flags.bool('sync-fs'), call);
      if (flags.bool('print-chainid')) {
        say(`image chain ID: ${chainIds(image.diffIds).at(-1) ?? ''}`);
      }
    }
    if (output.format === 'json') output.json(target);
  });
  say(`done: ${((performance.now() - startMs) / 1000).toFixed(3)}s\t`);
}

/** Fetches what the flags want of an image and stores its record. */
async function fetchFromHere(
  { client, flags, output }: CommandContext,
  reference: string,
  call: CallOptions,
): Promise<Descriptor> {
  using registry = await openRegistry(reference, flags, 'pull', output);
  const isMetadataOnly = flags.bool('metadata-only');
  const options = {
    platforms: flags.bool('all-platforms') ? [] : platformsOf(flags),
    hasAllMetadata: isMetadataOnly || hasAllMetadata(flags),
    hasLayers: !isMetadataOnly,
    concurrency: flags.number('max-concurrent-downloads') || Number.POSITIVE_INFINITY,
  };
  const root = await fetchLocally(client, registry.client, output, options, call);
  const { mediaType, digest, sizeBytes } = root;
  const target = { mediaType, digest, size: BigInt(sizeBytes) };
  await storeImage(
    client,
    { name: reference, target, labels: labelFlags(flags.strings('label')) },
    call,
  );
  return { mediaType, digest, size: sizeBytes };
}

function platformsIn(tree: ImageNode): Platform[] {
  return manifestsOf(tree).flatMap(({ platform }) => (platform === undefined ? [] : [platform]));
}

/** The platforms of the flags, or this machine's. */
export function platformsOf(flags: FlagValues): Platform[] {
  const given = flags.strings('platform').map(parsePlatform);
  return given.length === 0 ? [hostPlatform()] : given;
}

/** What is stored of an image with several platforms. */
export function storePlatforms(
  flags: FlagValues,
  platforms: readonly Platform[],
): Pick<Init<ImageStore>, 'platforms'> {
  return flags.bool('all-platforms') ? {} : { platforms };
}
