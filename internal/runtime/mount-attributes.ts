import type { MountAttribute as KernelAttribute, steps } from '../linux/index.ts';
import type { AttributeChange, MountAttribute, PropagationChange } from './mount-options.ts';

const KERNEL_NAMES: Readonly<Record<MountAttribute, KernelAttribute>> = {
  ro: 'MOUNT_ATTR_RDONLY',
  nosuid: 'MOUNT_ATTR_NOSUID',
  nodev: 'MOUNT_ATTR_NODEV',
  noexec: 'MOUNT_ATTR_NOEXEC',
  nodiratime: 'MOUNT_ATTR_NODIRATIME',
  nosymfollow: 'MOUNT_ATTR_NOSYMFOLLOW',
  relatime: 'MOUNT_ATTR_RELATIME',
  noatime: 'MOUNT_ATTR_NOATIME',
  strictatime: 'MOUNT_ATTR_STRICTATIME',
};

const ACCESS_TIME: ReadonlySet<MountAttribute> = new Set(['relatime', 'noatime', 'strictatime']);

/** Attributes that a bind mount with options of its own has only if they name them. */
const NOT_INHERITED: readonly MountAttribute[] = ['ro', 'nosuid', 'nodev', 'noexec', 'nosymfollow'];

/** For fsmount(2) of a new file system. */
export function kernelAttributes(attributes: Iterable<MountAttribute>): KernelAttribute[] {
  return [...attributes].map((attribute) => KERNEL_NAMES[attribute]);
}

export function isEmptyChange({ set, clear }: AttributeChange): boolean {
  return set.size === 0 && clear.size === 0;
}

/** What the options name, and nothing else. */
export function namedChange({ set, clear }: AttributeChange): steps.MountAttributeChange {
  const touchesAccessTime = [...set, ...clear].some((attribute) => ACCESS_TIME.has(attribute));
  const cleared = [...clear].filter((attribute) => !ACCESS_TIME.has(attribute));
  return {
    set: kernelAttributes(set),
    clear: [
      ...kernelAttributes(cleared),
      ...(touchesAccessTime ? (['MOUNT_ATTR__ATIME'] as const) : []),
    ],
  };
}

/**
 * As mount(2)'s MS_REMOUNT|MS_BIND: what the options do not set is taken away, so that a source
 * mounted nosuid does not make the bind mount so. Access time stays unless it is named.
 */
export function exactChange(change: AttributeChange): steps.MountAttributeChange {
  const clear = new Set(change.clear);
  for (const attribute of NOT_INHERITED) if (!change.set.has(attribute)) clear.add(attribute);
  return namedChange({ set: change.set, clear });
}

const PROPAGATION_NAMES = {
  private: 'MS_PRIVATE',
  slave: 'MS_SLAVE',
  shared: 'MS_SHARED',
  unbindable: 'MS_UNBINDABLE',
} as const;

export function kernelPropagation(change: PropagationChange): steps.MountAttributeChange {
  return { propagation: PROPAGATION_NAMES[change.type] };
}
