import { resolve } from 'node:path';
import type { AnyMessage } from '../api/any.ts';
import { Containers } from '../api/generated/containerd.services.containers.v1.ts';
import { Images } from '../api/generated/containerd.services.images.v1.ts';
import { Snapshots } from '../api/generated/containerd.services.snapshots.v1.ts';
import type { Mount } from '../api/generated/containerd.types.ts';
import type { CallOptions } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { FlagValues } from '../flags/flag-parser.ts';
import type { Json } from '../oci/index.ts';
import { filesOf } from '../rootfs/layered-files.ts';
import type { Client } from './client.ts';
import { type ImageProcess, specBytes } from './container-spec.ts';
import { readImage, type UnpackableImage } from './image-content.ts';
import { resolveUser } from './image-user.ts';
import { argument, labelFlags } from './labels.ts';
import { hostPlatform, parsePlatform } from './platform.ts';
import { runtimeOptions } from './runtime-options.ts';
import { snapshotterOf } from './snapshotter.ts';
import { unpackImage } from './unpack.ts';
import { withLease } from './work-lease.ts';

/** The type of a configuration inside of a container's record. */
export const SPEC_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';

const STOP_SIGNAL_LABEL = 'io.containerd.image.config.stop-signal';

/** Creates a container, with its snapshot, from `IMAGE|ROOTFS ID [COMMAND…]` and flags; returns its id. */
export async function createContainer(
  client: Client,
  flags: FlagValues,
  args: readonly string[],
): Promise<string> {
  const isFile = flags.string('config') !== undefined;
  // With a configuration of one's own there is no image.
  const source = isFile ? '' : argument(args, 0, 'image ref must be provided');
  const id = argument(args, isFile ? 0 : 1, 'container id must be provided');
  const command = args.slice(isFile ? 1 : 2);
  checkFlags(flags);
  if (isFile || flags.bool('rootfs')) {
    const rootfs = isFile ? undefined : resolve(source);
    await record(client, flags, { id, command, rootfs, image: undefined, mounts: undefined }, {});
    return id;
  }
  const text = flags.string('platform');
  const platform = text === undefined ? hostPlatform() : parsePlatform(text);
  const image = await readImage(client, source, platform);
  await withLease(client, async (options) => {
    const snapshotter = snapshotterOf(flags);
    const parent = await unpackImage(client, image, snapshotter, flags.bool('sync-fs'), options);
    const snapshots = client.service(Snapshots);
    const labels = labelFlags(flags.strings('snapshotter-label'));
    for (const [key, value] of idMapLabels(flags)) labels.set(key, value);
    const { mounts } = await snapshots.prepare({ snapshotter, key: id, parent, labels }, options);
    try {
      await record(client, flags, { id, command, rootfs: undefined, image, mounts }, options);
    } catch (thrown) {
      await snapshots.remove({ snapshotter, key: id }, options);
      throw thrown;
    }
  });
  return id;
}

function checkFlags(flags: FlagValues): void {
  const uids = flags.strings('uidmap').length;
  const gids = flags.strings('gidmap').length;
  if (uids === 0 && gids === 0) return;
  if (uids === 0 || gids === 0) {
    throw new TsError('InvalidArgument', '--uidmap and --gidmap must be given together');
  }
  if (!flags.bool('remap-labels')) {
    throw new TsError('InvalidArgument', '--uidmap without --remap-labels', {
      advice: 'add --remap-labels: the snapshotter maps the ids, files are not rewritten',
    });
  }
}

/** What tells a snapshotter to map ids (containerd core/snapshots). */
function idMapLabels(flags: FlagValues): [string, string][] {
  const uids = flags.strings('uidmap');
  if (uids.length === 0) return [];
  return [
    ['containerd.io/snapshot/uidmapping', uids.join(',')],
    ['containerd.io/snapshot/gidmapping', flags.strings('gidmap').join(',')],
  ];
}

interface Parts {
  readonly id: string;
  readonly command: readonly string[];
  readonly rootfs: string | undefined;
  readonly image: UnpackableImage | undefined;
  readonly mounts: readonly Mount[] | undefined;
}

async function record(
  client: Client,
  flags: FlagValues,
  { id, command, rootfs, image, mounts }: Parts,
  options: CallOptions,
): Promise<void> {
  const process = image === undefined ? undefined : imageProcess(image.config);
  const read = filesOf(mounts ?? [{ type: 'bind', source: rootfs ?? '/' }]);
  const name = flags.string('user') ?? process?.user ?? '';
  // An image that names nobody means root, with root's groups; a directory says nothing of either.
  const hasUser = name !== '' || image !== undefined;
  const user = hasUser ? resolveUser(name === '' ? '0' : name, read) : undefined;
  const namespace = client.options.namespace;
  const spec = specBytes({ id, namespace, flags, args: command, image: process, rootfs, user });
  const { name: runtime, options: runtimeConfig } = runtimeOptions(flags);
  const labels = image === undefined ? new Map<string, string>() : await imageLabels(client, image);
  for (const [key, value] of labelFlags(flags.strings('label'))) labels.set(key, value);
  await client.service(Containers).create(
    {
      container: {
        id,
        labels,
        image: image?.name ?? '',
        runtime: { name: runtime, options: runtimeConfig },
        spec: { typeUrl: SPEC_TYPE, value: spec } satisfies AnyMessage,
        ...(image === undefined ? {} : { snapshotter: snapshotterOf(flags), snapshotKey: id }),
        sandbox: flags.string('sandbox') ?? '',
      },
    },
    options,
  );
}

/** The labels that a container takes over: those of the image's record and of its configuration. */
async function imageLabels(client: Client, { name, config }: UnpackableImage) {
  const { image } = await client.service(Images).get({ name });
  const of = objectOf(config['config']);
  const labels = new Map(image?.labels ?? []);
  for (const [key, value] of Object.entries(objectOf(of['Labels']))) {
    if (typeof value === 'string') labels.set(key, value);
  }
  const signal = of['StopSignal'];
  labels.set(STOP_SIGNAL_LABEL, typeof signal === 'string' && signal !== '' ? signal : 'SIGTERM');
  return labels;
}

function imageProcess(config: Record<string, Json | undefined>): ImageProcess {
  const of = objectOf(config['config']);
  const text = (key: string): string => (typeof of[key] === 'string' ? of[key] : '');
  return {
    env: strings(of['Env']),
    entrypoint: strings(of['Entrypoint']),
    cmd: strings(of['Cmd']),
    workingDir: text('WorkingDir'),
    user: text('User'),
  };
}

function objectOf(value: Json | undefined): Record<string, Json | undefined> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
}

function strings(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}
