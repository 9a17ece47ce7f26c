import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { ContentStore, Digest } from '../content/content-store.ts';
import { TsError } from '../errors/index.ts';
import type { LeaseStore } from '../metadata/lease-store.ts';
import type { ApplyOptions, Differ } from '../snapshots/differ.ts';
import type { Snapshotter } from '../snapshots/snapshotter.ts';
import type { Descriptor } from './image-store.ts';
import { chainIds, Unpacker } from './unpacker.ts';

const digest = (digit: string): Digest => `sha256:${digit.repeat(64)}`;
const layerOf = (digit: string): Descriptor => ({
  mediaType: 'application/vnd.oci.image.layer.v1.tar',
  digest: digest(digit),
  sizeBytes: 1,
  annotations: new Map(),
});

/** Only what unpacking calls; layers have the digests of their content, as uncompressed ones do. */
function unpackerOf(calls: string[]): Unpacker {
  const layers = [digest('1'), digest('2')];
  const config = { os: 'linux', architecture: 'amd64', rootfs: { diff_ids: layers } };
  const content = {
    readAll: async () => Buffer.from(JSON.stringify(config)),
    info: () => ({}),
    update: () => ({}),
  } as unknown as ContentStore;
  const differ = {
    apply: async (_scope: unknown, layer: Descriptor, _mounts: unknown, options?: ApplyOptions) => {
      calls.push(`apply ${layer.digest.at(-1)}${options?.isSynced === true ? ' synced' : ''}`);
      return layer;
    },
    applyDetached: async (_scope: unknown, layer: Descriptor) => {
      calls.push(`detached ${layer.digest.at(-1)}`);
      return { descriptor: layer, implied: [] };
    },
    attach: async () => undefined,
  } as unknown as Differ;
  const snapshotter = {
    name: 'fake',
    canRebase: true,
    isRemote: false,
    stat: () => {
      throw new TsError('NotFound', 'not there');
    },
    prepare: async () => [],
    rebase: async () => [],
    commit: async () => undefined,
  } as unknown as Snapshotter;
  const leases = {} as LeaseStore;
  return new Unpacker({
    content,
    leases,
    differ,
    snapshotters: new Map([['fake', snapshotter]]),
  });
}

for (const [isSynced, expected] of [
  [false, ['apply 1', 'detached 2']],
  [true, ['apply 1 synced', 'apply 2 synced']],
] as const) {
  test(`Unpacker: ${isSynced ? 'each layer is on the disk' : 'nothing waits for the disk'}`, async () => {
    const calls: string[] = [];
    await unpackerOf(calls).unpack(
      { namespace: 'test' },
      {
        config: { ...layerOf('c'), mediaType: 'application/vnd.oci.image.config.v1+json' },
        layers: [layerOf('1'), layerOf('2')],
        snapshotter: 'fake',
        isSynced,
      },
    );
    assert.deepEqual(calls.sort(), expected);
  });
}

test('chainIds: each over the one below (image-spec config.md#layer-chainid)', () => {
  const second = `sha256:${createHash('sha256')
    .update(`${digest('a')} ${digest('b')}`)
    .digest('hex')}`;
  assert.deepEqual(chainIds([]), []);
  assert.deepEqual(chainIds([digest('a'), digest('b')]), [digest('a'), second]);
});
