import { packAny } from '../../api/any.ts';
import { Images } from '../../api/generated/containerd.services.images.v1.ts';
import { ImageStore } from '../../api/generated/containerd.types.transfer.ts';
import { TsError } from '../../errors/index.ts';
import type { Client } from '../client.ts';
import type { CommandContext, CommandGroup } from '../command.ts';
import { argument, labelArguments, labelPaths, labelText } from '../labels.ts';
import { transfer } from '../transfer.ts';
import { EXPORT, IMPORT } from './images-archive.ts';
import { CONVERT } from './images-convert.ts';
import { CHECK, INSPECT, LIST, USAGE } from './images-list.ts';
import { MOUNT, UNMOUNT } from './images-mount.ts';
import { PULL } from './images-pull.ts';
import { PUSH } from './images-push.ts';

/** Not changed by an update of labels; but containerd 2.1 crashes when there is none. */
const NO_TARGET = { mediaType: '', digest: '', size: 0n };

const NAME_MISSING = 'please provide an image reference';

/** `tsctr images`. */
export const IMAGES: CommandGroup = {
  name: 'images',
  aliases: ['image', 'i'],
  summary: 'images',
  commands: [
    CHECK,
    CONVERT,
    EXPORT,
    IMPORT,
    INSPECT,
    LIST,
    MOUNT,
    UNMOUNT,
    PULL,
    PUSH,
    {
      name: 'prune',
      summary: 'remove images that no container uses',
      flags: { all: { type: 'bool', usage: 'needed, so that nobody does it by mistake' } },
      run: prune,
    },
    {
      name: 'delete',
      aliases: ['del', 'remove', 'rm'],
      summary: 'remove images',
      usage: '<ref>...',
      objects: ['image'],
      flags: { sync: { type: 'bool', usage: 'wait until what only they kept is gone' } },
      run: remove,
    },
    {
      name: 'tag',
      summary: 'give an image more names',
      usage: '<source ref> <target ref>...',
      objects: ['image'],
      flags: {
        force: { type: 'bool', usage: 'take a name from the image that has it' },
        local: { type: 'bool', usage: 'by the image service: a name that is taken is an error' },
        'skip-reference-check': {
          type: 'bool',
          hidden: true,
          usage: 'ignored: names are not checked',
        },
      },
      run: tag,
    },
    {
      name: 'label',
      summary: 'set labels of an image; an empty value clears one',
      usage: '<name> [<key>=<value>...]',
      objects: ['image', 'text'],
      flags: { 'replace-all': { type: 'bool', short: 'r', usage: 'clear all others' } },
      async run({ client, args, flags, output }) {
        const name = argument(args, 0, NAME_MISSING);
        const labels = labelArguments(args.slice(1));
        const isReplacing = flags.bool('replace-all');
        const images = client.service(Images);
        const paths = isReplacing ? ['labels'] : labelPaths(labels);
        const { image } =
          paths.length === 0
            ? await images.get({ name })
            : await images.update({
                image: { name, labels, target: NO_TARGET },
                updateMask: { paths },
              });
        output.line(labelText(image?.labels ?? new Map()));
      },
    },
    USAGE,
  ],
};

/** Removes images; the collection at the end of the last one finds what all of them kept. */
async function remove({ client, args, flags, output }: CommandContext): Promise<void> {
  let failure: TsError | undefined;
  for (const [index, name] of args.entries()) {
    const sync = flags.bool('sync') && index === args.length - 1;
    try {
      await client.service(Images).delete({ name, sync });
      output.line(name);
    } catch (thrown) {
      const error = TsError.from(thrown);
      if (error.kind === 'NotFound') output.note(`tsctr: ${name}: image not found`);
      else failure ??= error.within(`unable to delete ${name}`);
    }
  }
  if (failure !== undefined) throw failure;
}

async function prune({ client, flags, output }: CommandContext): Promise<void> {
  if (!flags.bool('all')) {
    output.note('tsctr: No images pruned. `images prune` requires --all to be specified.');
    return;
  }
  const { Containers } = await import('../../api/generated/containerd.services.containers.v1.ts');
  const { containers } = await client.service(Containers).list({});
  const { images } = await client.service(Images).list({});
  const used = new Set(containers.map(({ image }) => image));
  const unused = images.filter(({ name }) => !used.has(name));
  for (const [index, { name }] of unused.entries()) {
    await client.service(Images).delete({ name, sync: index === unused.length - 1 });
    output.line(name);
  }
}

async function tag({ client, args, flags, output }: CommandContext): Promise<void> {
  const source = argument(args, 0, 'please provide an image reference to tag from');
  argument(args, 1, 'please provide an image reference to tag to');
  for (const target of args.slice(1)) {
    if (flags.bool('local')) await tagLocally(client, source, target, flags.bool('force'));
    else {
      const from = packAny(ImageStore, { name: source });
      await transfer(client, output, from, packAny(ImageStore, { name: target }));
    }
    output.line(target);
  }
}

async function tagLocally(
  client: Client,
  source: string,
  target: string,
  isForced: boolean,
): Promise<void> {
  const images = client.service(Images);
  const { image } = await images.get({ name: source });
  const renamed = { ...image, name: target };
  try {
    await images.create({ image: renamed });
  } catch (thrown) {
    if (!isForced || TsError.from(thrown).kind !== 'AlreadyExists') throw thrown;
    await images.update({ image: renamed, updateMask: { paths: ['target', 'labels'] } });
  }
}
