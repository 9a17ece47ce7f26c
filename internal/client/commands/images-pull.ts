import { packAny } from '../../api/any.ts';
import { ImageStore } from '../../api/generated/containerd.types.transfer.ts';
import type { Init } from '../../api/init.ts';
import type { FlagSpecs, FlagValues } from '../../flags/flag-parser.ts';
import type { Command, CommandContext } from '../command.ts';
import { chainIds, imageTarget, readImage } from '../image-content.ts';
import { argument, labelFlags } from '../labels.ts';
import { hostPlatform, type Platform, parsePlatform } from '../platform.ts';
import { REGISTRY_FLAGS, registryEnd } from '../registry-flags.ts';
import { SNAPSHOTTER_FLAG, snapshotterOf } from '../snapshotter.ts';
import { transfer } from '../transfer.ts';

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
  'all-metadata': { type: 'bool', hidden: true, usage: 'ignored: the default, unlike in ctr 1.6' },
};

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
    local: { type: 'bool', hidden: true, usage: 'ignored: the daemon always transfers' },
    'sync-fs': { type: 'bool', hidden: true, usage: "ignored: the daemon's configuration decides" },
    'max-concurrent-downloads': {
      type: 'int',
      hidden: true,
      usage: "ignored: the daemon's configuration decides",
    },
  },
  async run(context) {
    const { client, flags, output } = context;
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
    flags: CONTENT_FLAGS,
    async run(context) {
      await pull(context, false);
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
    allMetadata: !flags.bool('skip-metadata'),
    unpacks: unpacks ? platforms.map((platform) => ({ platform, snapshotter })) : [],
  });
  await transfer(client, output, source.message, destination);
  if (output.format === 'json') output.json(await imageTarget(client, reference));
  else output.line(reference);
  return { reference, platforms };
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
