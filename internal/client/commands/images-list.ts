import { Content } from '../../api/generated/containerd.services.content.v1.ts';
import { type Image, Images } from '../../api/generated/containerd.services.images.v1.ts';
import { Snapshots } from '../../api/generated/containerd.services.snapshots.v1.ts';
import { TsError } from '../../errors/index.ts';
import type { Client } from '../client.ts';
import type { Command, CommandContext } from '../command.ts';
import {
  chainIds,
  type Descriptor,
  hasSnapshot,
  type ImageNode,
  manifestFor,
  manifestsOf,
  readImage,
  readTree,
} from '../image-content.ts';
import { imageTree } from '../image-tree.ts';
import { argument, labelText } from '../labels.ts';
import { hostPlatform, platformText } from '../platform.ts';
import { binarySize } from '../sizes.ts';
import { SNAPSHOTTER_FLAG, snapshotterOf } from '../snapshotter.ts';

/** `tsctr images list`. */
export const LIST: Command = {
  name: 'list',
  aliases: ['ls'],
  summary: 'list images',
  usage: '[<filter>...]',
  objects: ['text'],
  flags: { quiet: { type: 'bool', short: 'q', usage: 'print names only' } },
  async run({ client, args, flags, output }) {
    const images = await listImages(client, args);
    if (flags.bool('quiet')) {
      for (const { name } of images) output.line(name);
      return;
    }
    const described = await Promise.all(images.map((image) => describe(client, image)));
    output.table({
      header: ['REF', 'TYPE', 'DIGEST', 'SIZE', 'PLATFORMS', 'LABELS', ''],
      rows: described.map(({ image, size, platforms }) => [
        image.name,
        image.target?.mediaType ?? '',
        image.target?.digest ?? '',
        size === undefined ? '-' : binarySize(size),
        platforms.join(',') || '-',
        labelText(image.labels) || '-',
        '',
      ]),
      records: described.map(({ image, size, platforms }) => ({ ...image, size, platforms })),
    });
  },
};

/** `tsctr images check`. */
export const CHECK: Command = {
  name: 'check',
  summary: 'tell which images are complete and unpacked',
  usage: '[<filter>...]',
  objects: ['text'],
  flags: {
    quiet: { type: 'bool', short: 'q', usage: 'print only names of images that are ready' },
    ...SNAPSHOTTER_FLAG,
  },
  run: check,
};

/** `tsctr images inspect`. */
export const INSPECT: Command = {
  name: 'inspect',
  aliases: ['i'],
  summary: 'print what an image consists of, as a tree',
  usage: '<image>',
  objects: ['image'],
  flags: { content: { type: 'bool', usage: 'print the documents and their labels too' } },
  async run({ client, args, flags, output }) {
    const name = argument(args, 0, 'please provide an image reference to inspect');
    const { image } = await client.service(Images).get({ name });
    if (image?.target === undefined) return;
    const tree = await readTree(client, descriptorOf(image.target));
    if (output.format === 'json') {
      output.json({ ...image, tree: treeJson(tree) });
      return;
    }
    const labels = flags.bool('content') ? await labelsOf(client) : undefined;
    output.write(imageTree(image, tree, labels));
  },
};

/** `tsctr images usage`. */
export const USAGE: Command = {
  name: 'usage',
  summary: "print what an image's snapshots take of the disk",
  usage: '<ref>',
  objects: ['image'],
  flags: SNAPSHOTTER_FLAG,
  async run({ client, args, flags, output }) {
    const name = argument(args, 0, 'please provide an image reference');
    const snapshotter = snapshotterOf(flags);
    const { diffIds } = await readImage(client, name, hostPlatform()).catch((thrown: unknown) => {
      throw TsError.from(thrown).within(`failed to ensure if image ${name} exists`);
    });
    const usages = [];
    for (const key of chainIds(diffIds).reverse()) {
      const { size, inodes } = await client.service(Snapshots).usage({ snapshotter, key });
      usages.push({ key, size, inodes });
    }
    output.table({
      header: ['KEY', 'SIZE', 'INODES', ''],
      rows: usages.map((each) => [each.key, binarySize(Number(each.size)), `${each.inodes}`, '']),
      records: usages,
    });
  },
};

async function listImages(client: Client, filters: readonly string[]): Promise<Image[]> {
  return (await client.service(Images).list({ filters })).images;
}

function descriptorOf(target: NonNullable<Image['target']>): Descriptor {
  const { mediaType, digest, size } = target;
  return { mediaType, digest, size: Number(size) };
}

/** Size of what this machine would run, and the platforms that are there. */
async function describe(client: Client, image: Image) {
  if (image.target === undefined) return { image, size: undefined, platforms: [] };
  const tree = await readTree(client, descriptorOf(image.target));
  const manifest = manifestFor(tree, hostPlatform());
  const above = tree === manifest ? 0 : tree.descriptor.size;
  const size = manifest === undefined ? undefined : above + sizeOf(manifest);
  const present = manifestsOf(tree).filter(({ node }) => node.document !== undefined);
  const platforms = present.flatMap(({ platform }) => (platform ? [platformText(platform)] : []));
  return { image, size, platforms: [...new Set(platforms)].sort() };
}

function sizeOf({ descriptor, children }: ImageNode): number {
  return children.reduce((sum, child) => sum + sizeOf(child), descriptor.size);
}

async function check({ client, args, flags, output }: CommandContext): Promise<void> {
  const snapshotter = snapshotterOf(flags);
  const images = await listImages(client, args);
  const checked = await Promise.all(images.map((each) => checkImage(client, each, snapshotter)));
  if (flags.bool('quiet')) {
    for (const { name, isReady } of checked) if (isReady) output.line(name);
    return;
  }
  output.table({
    header: ['REF', 'TYPE', 'DIGEST', 'STATUS', 'SIZE', 'UNPACKED', ''],
    rows: checked.map((each) => {
      return [each.name, each.mediaType, each.digest, each.status, each.size, `${each.isUnpacked}`];
    }),
    records: checked,
  });
}

async function checkImage(client: Client, { name, target }: Image, snapshotter: string) {
  const descriptor = target === undefined ? undefined : descriptorOf(target);
  const { mediaType = '', digest = '' } = descriptor ?? {};
  const tree = descriptor === undefined ? undefined : await readTree(client, descriptor);
  const manifest = tree === undefined ? undefined : manifestFor(tree, hostPlatform());
  if (manifest === undefined) {
    const base = { name, mediaType, digest, isUnpacked: false, isReady: false };
    return { ...base, status: 'unavailable (0/?)', size: '0.0 B/?' };
  }
  const required = manifest.children.map((child) => child.descriptor);
  const present = await filterPresent(client, required);
  const sum = (list: readonly Descriptor[]) => {
    return list.reduce((total, { size }) => total + size, manifest.descriptor.size);
  };
  const isComplete = present.length === required.length;
  const isUnpacked = isComplete && (await isImageUnpacked(client, name, snapshotter));
  return {
    name,
    mediaType,
    digest,
    status: `${isComplete ? 'complete' : 'incomplete'} (${present.length}/${required.length})`,
    size: `${binarySize(sum(present))}/${binarySize(sum(required))}`,
    isUnpacked,
    isReady: isComplete && isUnpacked,
  };
}

async function filterPresent(client: Client, wanted: readonly Descriptor[]): Promise<Descriptor[]> {
  const found = await Promise.all(
    wanted.map(async (descriptor) => {
      try {
        await client.service(Content).info({ digest: descriptor.digest });
        return [descriptor];
      } catch (thrown) {
        if (TsError.from(thrown).kind === 'NotFound') return [];
        throw thrown;
      }
    }),
  );
  return found.flat();
}

async function isImageUnpacked(
  client: Client,
  name: string,
  snapshotter: string,
): Promise<boolean> {
  const { diffIds } = await readImage(client, name, hostPlatform());
  const top = chainIds(diffIds).at(-1);
  return top === undefined || (await hasSnapshot(client, snapshotter, top));
}

async function labelsOf(client: Client): Promise<Map<string, ReadonlyMap<string, string>>> {
  const labels = new Map<string, ReadonlyMap<string, string>>();
  for await (const { info } of client.service(Content).list({})) {
    for (const each of info) labels.set(each.digest, each.labels);
  }
  return labels;
}

function treeJson({ descriptor, document, children }: ImageNode): object {
  const content = document === undefined ? {} : { document };
  const below = children.length === 0 ? {} : { children: children.map(treeJson) };
  return { ...descriptor, ...content, ...below };
}
