import { mkdirSync } from 'node:fs';
import { Snapshots } from '../../api/generated/containerd.services.snapshots.v1.ts';
import { TsError } from '../../errors/index.ts';
import type { Command, CommandContext } from '../command.ts';
import { readImage } from '../image-content.ts';
import { argument } from '../labels.ts';
import { rfc3339 } from '../message-json.ts';
import { mountAll, unmountTarget } from '../mounts.ts';
import { hostPlatform, parsePlatform } from '../platform.ts';
import { SNAPSHOTTER_FLAG, snapshotterOf } from '../snapshotter.ts';
import { unpackImage } from '../unpack.ts';
import { withLease } from '../work-lease.ts';

/** `tsctr images mount`. */
export const MOUNT: Command = {
  name: 'mount',
  summary: "mount an image's file system",
  usage: '<ref> <target>',
  objects: ['image', 'file'],
  flags: {
    ...SNAPSHOTTER_FLAG,
    rw: { type: 'bool', usage: 'writable, into a snapshot of its own' },
    platform: { type: 'string', usage: 'of this platform' },
    'sync-fs': { type: 'bool', usage: 'write all to the disk before it counts as unpacked' },
  },
  run: mountImage,
};

/** `tsctr images unmount`. */
export const UNMOUNT: Command = {
  name: 'unmount',
  summary: 'unmount what `images mount` mounted',
  usage: '<target>',
  objects: ['file'],
  flags: {
    ...SNAPSHOTTER_FLAG,
    rm: { type: 'bool', usage: 'remove the snapshot too' },
  },
  async run({ client, args, flags, output }) {
    const target = argument(args, 0, 'please provide a target path to unmount from');
    unmountTarget(target);
    if (flags.bool('rm')) {
      const request = { snapshotter: snapshotterOf(flags), key: target };
      try {
        await client.service(Snapshots).remove(request);
      } catch (thrown) {
        const error = TsError.from(thrown);
        if (error.kind !== 'NotFound') throw error.within(`error deleting snapshot ${target}`);
      }
    }
    output.line(target);
  },
};

async function mountImage({ client, args, flags, output }: CommandContext): Promise<void> {
  const name = argument(args, 0, 'please provide an image reference to mount');
  const target = argument(args, 1, 'please provide a target path to mount to');
  const snapshotter = snapshotterOf(flags);
  const wanted = flags.string('platform');
  const platform = wanted === undefined ? hostPlatform() : parsePlatform(wanted);
  const image = await readImage(client, name, platform);
  await withLease(client, async (options) => {
    const parent = await unpackImage(client, image, snapshotter, flags.bool('sync-fs'), options);
    const snapshots = client.service(Snapshots);
    const root = rfc3339((BigInt(Date.now()) / 1000n) * 1_000_000_000n);
    const request = {
      snapshotter,
      key: target,
      parent,
      labels: [['containerd.io/gc.root', root]] as const,
    };
    const { mounts } = flags.bool('rw')
      ? await snapshots.prepare(request, options)
      : await snapshots.view(request, options);
    try {
      mkdirSync(target, { recursive: true });
      mountAll(mounts, target);
    } catch (thrown) {
      await snapshots.remove({ snapshotter, key: target }, options);
      throw thrown;
    }
    output.line(parent);
    output.line(target);
  });
}
