import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApplyRequest } from '../api/generated/containerd.services.diff.v1.ts';
import type { ApplyOptions, Differ } from '../snapshots/differ.ts';
import type { GrpcContext } from './context.ts';
import { diffService } from './diff.ts';

const descriptor = {
  mediaType: 'application/vnd.oci.image.layer.v1.tar',
  digest: `sha256:${'1'.repeat(64)}`,
  size: 1n,
  annotations: new Map<string, string>(),
};

for (const [isKeySet, isAsked, expected] of [
  [false, false, false],
  [false, true, true],
  [true, false, true],
] as const) {
  test(`diffService: sync_fs ${isKeySet}, the client asks ${isAsked}: on the disk ${expected}`, async () => {
    const seen: (boolean | undefined)[] = [];
    const differ = {
      apply: async (_scope: unknown, layer: unknown, _mounts: unknown, options?: ApplyOptions) => {
        seen.push(options?.isSynced);
        return layer;
      },
    } as unknown as Differ;
    const request: ApplyRequest = {
      diff: descriptor,
      mounts: [],
      payloads: new Map(),
      syncFs: isAsked,
    };
    const context = { scope: { namespace: 'test' } } as unknown as GrpcContext;
    await diffService(differ, isKeySet).apply(request, context);
    assert.deepEqual(seen, [expected]);
  });
}
