import type { Mount as MountMessage } from '../api/generated/containerd.types.ts';
import type { Init } from '../api/init.ts';
import type { Mount } from '../snapshots/snapshotter.ts';

export function mountMessage(mount: Mount): Init<MountMessage> {
  return mount;
}

export function mountOf({ type, source, target, options }: MountMessage): Mount {
  return { type, source, target, options };
}
