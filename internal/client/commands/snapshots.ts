import { Content } from '../../api/generated/containerd.services.content.v1.ts';
import {
  type Info,
  Kind,
  Snapshots,
} from '../../api/generated/containerd.services.snapshots.v1.ts';
import { timestampToNs } from '../../api/time.ts';
import { TsError } from '../../errors/index.ts';
import type { FlagSpecs, FlagValues } from '../../flags/flag-parser.ts';
import type { Client } from '../client.ts';
import type { Command, CommandContext, CommandGroup } from '../command.ts';
import { readBlob, readDocument, readManifest } from '../image-content.ts';
import { argument, labelArguments, labelFlags, labelPaths, labelText } from '../labels.ts';
import { rfc3339 } from '../message-json.ts';
import { mountCommand, mountsJson } from '../mounts.ts';
import { hostPlatform } from '../platform.ts';
import { binarySize } from '../sizes.ts';
import { diffSnapshots } from '../snapshot-diff.ts';
import { snapshotterOf } from '../snapshotter.ts';
import { unpackImage } from '../unpack.ts';
import { withLease } from '../work-lease.ts';

const KIND_NAMES: Readonly<Record<number, string>> = {
  [Kind.VIEW]: 'View',
  [Kind.ACTIVE]: 'Active',
  [Kind.COMMITTED]: 'Committed',
};

const GC_ROOT = 'containerd.io/gc.root';
const KEY_MISSING = 'please specify a snapshot key';

const MOUNT_FLAGS: FlagSpecs = {
  target: { type: 'string', short: 't', usage: 'print the mount command for this path' },
  mounts: { type: 'bool', usage: 'print the mounts as JSON' },
};

/** `tsctr snapshots`. */
export const SNAPSHOTS: CommandGroup = {
  name: 'snapshots',
  aliases: ['snapshot'],
  summary: 'file systems of layers and containers',
  flags: { snapshotter: { type: 'string', usage: 'snapshotter [$CONTAINERD_SNAPSHOTTER]' } },
  commands: [
    {
      name: 'commit',
      summary: 'make an active snapshot a committed one',
      usage: '<name> <active>',
      objects: ['text', 'snapshot'],
      async run({ client, args, flags }) {
        const name = argument(args, 0, KEY_MISSING);
        const key = argument(args, 1, 'please specify an active snapshot');
        const snapshotter = snapshotterOf(flags);
        const labels = [rootLabel()];
        await client.service(Snapshots).commit({ snapshotter, name, key, labels });
      },
    },
    {
      name: 'diff',
      summary: 'print the layer of what differs between two snapshots, or one and its parent',
      usage: '<idA> [<idB>]',
      objects: ['snapshot'],
      flags: {
        'media-type': {
          type: 'string',
          default: 'application/vnd.oci.image.layer.v1.tar+gzip',
          usage: 'kind of layer',
        },
        ref: { type: 'string', usage: 'name of the upload' },
        keep: { type: 'bool', usage: 'keep it in the content store' },
        label: { type: 'string[]', usage: 'label of the content (repeatable)' },
      },
      run: diff,
    },
    {
      name: 'info',
      summary: 'print a snapshot, as JSON',
      usage: '<key>',
      objects: ['snapshot'],
      async run({ client, args, flags, output }) {
        const key = argument(args, 0, KEY_MISSING);
        const { info } = await client
          .service(Snapshots)
          .stat({ snapshotter: snapshotterOf(flags), key });
        if (info === undefined) return;
        const time = (at: Info['createdAt']) => rfc3339(at === undefined ? 0n : timestampToNs(at));
        output.json({
          Kind: KIND_NAMES[info.kind] ?? 'Unknown',
          Name: info.name,
          ...(info.parent === '' ? {} : { Parent: info.parent }),
          ...(info.labels.size === 0 ? {} : { Labels: sorted(info.labels) }),
          Created: time(info.createdAt),
          Updated: time(info.updatedAt),
        });
      },
    },
    {
      name: 'list',
      aliases: ['ls'],
      summary: 'list snapshots',
      usage: '[<filter>...]',
      objects: ['text'],
      async run({ client, args, flags, output }) {
        const infos = await listSnapshots(client, snapshotterOf(flags), args);
        output.table({
          header: ['KEY', 'PARENT', 'KIND', ''],
          rows: infos.map(({ name, parent, kind }) => [name, parent, KIND_NAMES[kind] ?? '', '']),
          records: infos.map((info) => ({ ...info, kind: KIND_NAMES[info.kind] ?? 'Unknown' })),
        });
      },
    },
    {
      name: 'mounts',
      aliases: ['m', 'mount'],
      summary: 'print the commands that mount a snapshot',
      usage: '<target> <key>',
      objects: ['file', 'snapshot'],
      async run({ client, args, flags, output }) {
        const target = argument(args, 0, 'please specify a target directory');
        const key = argument(args, 1, KEY_MISSING);
        const { mounts } = await client
          .service(Snapshots)
          .mounts({ snapshotter: snapshotterOf(flags), key });
        if (output.format === 'json') output.json(mountsJson(mounts));
        else for (const each of mounts) output.line(mountCommand(each, target));
      },
    },
    maker('prepare', 'make an active snapshot above a committed one'),
    {
      name: 'delete',
      aliases: ['del', 'remove', 'rm'],
      summary: 'remove snapshots',
      usage: '<key>...',
      objects: ['snapshot'],
      async run({ client, args, flags }) {
        const snapshotter = snapshotterOf(flags);
        for (const key of args) {
          try {
            await client.service(Snapshots).remove({ snapshotter, key });
          } catch (thrown) {
            throw TsError.from(thrown).within(`failed to remove ${JSON.stringify(key)}`);
          }
        }
      },
    },
    {
      name: 'label',
      summary: 'set labels of a snapshot; an empty value clears one',
      usage: '<name> [<label>=<value>...]',
      objects: ['snapshot', 'text'],
      async run({ client, args, flags, output }) {
        const name = argument(args, 0, KEY_MISSING);
        const labels = labelArguments(args.slice(1));
        const snapshotter = snapshotterOf(flags);
        const snapshots = client.service(Snapshots);
        const { info } =
          labels.size === 0
            ? await snapshots.stat({ snapshotter, key: name })
            : await snapshots.update({
                snapshotter,
                info: { name, labels },
                updateMask: { paths: labelPaths(labels) },
              });
        output.line(labelText(info?.labels ?? new Map()));
      },
    },
    {
      name: 'tree',
      summary: 'print snapshots below what they are made on',
      async run({ client, flags, output }) {
        const infos = await listSnapshots(client, snapshotterOf(flags), []);
        if (output.format === 'json') output.json(infos);
        else output.write(treeText(infos));
      },
    },
    {
      name: 'unpack',
      summary: 'make the snapshots of an image from the digest of its manifest',
      usage: '<digest>',
      objects: ['content'],
      flags: {
        'sync-fs': { type: 'bool', usage: 'write all to the disk before it counts as done' },
      },
      async run({ client, args, flags, output }) {
        const digest = argument(args, 0, 'please specify a manifest digest');
        const { info } = await client.service(Content).info({ digest });
        const mediaType = await mediaTypeOf(client, digest, Number(info?.size ?? 0n));
        const target = { mediaType, digest, size: Number(info?.size ?? 0n) };
        const image = await readManifest(client, digest, target, hostPlatform());
        output.write(`unpacking ${digest} (${mediaType})...`);
        await withLease(client, (options) => {
          return unpackImage(client, image, snapshotterOf(flags), flags.bool('sync-fs'), options);
        });
        output.line('done');
      },
    },
    {
      name: 'usage',
      summary: 'print what snapshots take of the disk, without their parents',
      usage: '[<key>...]',
      objects: ['snapshot'],
      flags: { b: { type: 'bool', usage: 'sizes in bytes' } },
      async run({ client, args, flags, output }) {
        const snapshotter = snapshotterOf(flags);
        const keys =
          args.length > 0
            ? args
            : (await listSnapshots(client, snapshotter, [])).map(({ name }) => name);
        const usages = [];
        for (const key of keys) {
          const { size, inodes } = await client.service(Snapshots).usage({ snapshotter, key });
          usages.push({ key, size, inodes });
        }
        const sizeText = (size: bigint) => (flags.bool('b') ? `${size}` : binarySize(Number(size)));
        output.table({
          header: ['KEY', 'SIZE', 'INODES', ''],
          rows: usages.map(({ key, size, inodes }) => [key, sizeText(size), `${inodes}`, '']),
          records: usages,
        });
      },
    },
    maker('view', 'make a read-only snapshot of a committed one'),
  ],
};

/** All snapshots, as the daemon orders them. */
async function listSnapshots(
  client: Client,
  snapshotter: string,
  filters: readonly string[],
): Promise<Info[]> {
  const infos: Info[] = [];
  for await (const { info } of client.service(Snapshots).list({ snapshotter, filters })) {
    infos.push(...info);
  }
  return infos;
}

function maker(name: 'prepare' | 'view', summary: string): Command {
  return {
    name,
    summary,
    usage: '<key> [<parent>]',
    objects: ['text', 'snapshot'],
    flags: MOUNT_FLAGS,
    async run({ client, args, flags, output }) {
      const key = argument(args, 0, KEY_MISSING);
      const request = {
        snapshotter: snapshotterOf(flags),
        key,
        parent: args[1] ?? '',
        labels: [rootLabel()],
      };
      const { mounts } = await client.service(Snapshots)[name](request);
      const target = flags.string('target');
      if (target !== undefined) for (const each of mounts) output.line(mountCommand(each, target));
      if (flags.bool('mounts')) output.json(mountsJson(mounts));
    },
  };
}

/** Keeps what a person makes by hand from the collector. */
function rootLabel(): [string, string] {
  return [GC_ROOT, rfc3339((BigInt(Date.now()) / 1000n) * 1_000_000_000n)];
}

async function diff({ client, args, flags, output }: CommandContext): Promise<void> {
  const key = argument(args, 0, KEY_MISSING);
  const pair = { snapshotter: snapshotterOf(flags), key, other: args[1] };
  await withLease(client, async (options) => {
    const { digest } = await diffSnapshots(client, pair, diffOptions(flags), options);
    for await (const chunk of readBlob(client, digest)) output.write(chunk);
    if (flags.bool('keep')) await keepContent(client, digest);
  });
}

function diffOptions(flags: FlagValues) {
  return {
    mediaType: flags.string('media-type') ?? 'application/vnd.oci.image.layer.v1.tar+gzip',
    ref: flags.string('ref') ?? '',
    labels: labelFlags(flags.strings('label')),
  };
}

async function keepContent(client: Client, digest: string): Promise<void> {
  const [label, value] = rootLabel();
  const info = { digest, labels: [[label, value]] as const };
  await client.service(Content).update({ info, updateMask: { paths: [`labels.${label}`] } });
}

/** What a document says that it is; one of Docker's or OCI's manifests may leave it out. */
async function mediaTypeOf(client: Client, digest: string, size: number): Promise<string> {
  const document = await readDocument(client, { mediaType: '', digest, size });
  const declared = document['mediaType'];
  if (typeof declared === 'string' && declared !== '') return declared;
  const kind = document['manifests'] === undefined ? 'manifest' : 'index';
  return `application/vnd.oci.image.${kind}.v1+json`;
}

/** Snapshots below their parents, as ctr draws them. */
export function treeText(infos: readonly Pick<Info, 'name' | 'parent'>[]): string {
  const names = new Set(infos.map(({ name }) => name));
  const lines: string[] = [];
  const draw = (name: string, depth: number): void => {
    lines.push(depth === 0 ? ` ${name}` : `${'  '.repeat(depth)}\\_ ${name}`);
    const children = infos.filter(({ parent }) => parent === name).map((each) => each.name);
    for (const child of children.sort()) draw(child, depth + 1);
  };
  // A parent may be in another namespace: its children are roots here.
  for (const { name, parent } of infos) if (!names.has(parent)) draw(name, 0);
  return lines.map((line) => `${line}\n`).join('');
}

function sorted(labels: ReadonlyMap<string, string>): Record<string, string> {
  return Object.fromEntries([...labels].sort(([a], [b]) => (a < b ? -1 : 1)));
}
