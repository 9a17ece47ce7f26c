import { packAny } from '../../api/any.ts';
import { ImageStore } from '../../api/generated/containerd.types.transfer.ts';
import { MediaType } from '../../oci/index.ts';
import type { Command, CommandContext } from '../command.ts';
import { imageTarget } from '../image-content.ts';
import { pushLocally } from '../image-push.ts';
import { argument, digestArgument } from '../labels.ts';
import { parsePlatform } from '../platform.ts';
import { openRegistry, REGISTRY_FLAGS, registryEnd } from '../registry-flags.ts';
import { transfer } from '../transfer.ts';

/** What the daemon's transfer has no word for: this program pushes itself. */
const LOCAL_FLAGS = [
  'local',
  'manifest',
  'max-concurrent-uploaded-layers',
  'allow-non-distributable-blobs',
];

/** `tsctr images push`. */
export const PUSH: Command = {
  name: 'push',
  summary: 'push an image to a registry',
  usage: '<remote> [<local>]',
  objects: ['image'],
  flags: {
    ...REGISTRY_FLAGS,
    platform: { type: 'string[]', usage: 'platform to push (repeatable; default: all)' },
    local: { type: 'bool', usage: 'push from here rather than by the daemon' },
    manifest: { type: 'string', usage: 'digest of a manifest to push instead of an image' },
    'manifest-type': {
      type: 'string',
      usage: `media type of that manifest (default: ${MediaType.ociManifest})`,
    },
    'max-concurrent-uploaded-layers': {
      type: 'int',
      usage: 'blobs to push at once (default: all)',
    },
    'allow-non-distributable-blobs': {
      type: 'bool',
      usage: 'push layers too that are marked as not to be passed on',
    },
  },
  async run(context) {
    const { client, args, flags, output } = context;
    const remote = argument(args, 0, 'please provide a remote image reference to push');
    if (LOCAL_FLAGS.some((name) => flags.has(name))) return await pushFromHere(context, remote);
    const platforms = flags.strings('platform').map(parsePlatform);
    const source = packAny(ImageStore, { name: args[1] ?? remote, platforms });
    await using destination = await registryEnd(client, remote, flags, output);
    await transfer(client, output, source, destination.message);
  },
};

async function pushFromHere(context: CommandContext, remote: string): Promise<void> {
  const { client, args, flags, output } = context;
  const manifest = flags.string('manifest');
  const name = args[1] ?? remote;
  const root =
    manifest === undefined
      ? await imageTarget(client, name)
      : {
          mediaType: flags.string('manifest-type') ?? MediaType.ociManifest,
          digest: digestArgument(manifest),
          size: 0,
        };
  using registry = await openRegistry(remote, flags, 'push', output);
  await pushLocally(client, registry.client, output, root, {
    platforms: flags.strings('platform').map(parsePlatform),
    concurrency: flags.number('max-concurrent-uploaded-layers') || Number.POSITIVE_INFINITY,
    pushesForeign: flags.bool('allow-non-distributable-blobs'),
  });
}
