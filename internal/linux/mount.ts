import { TsError } from '../errors/index.ts';
import { combine } from './constants/flags.ts';
import { MountFlag, UnmountFlag } from './constants/mount.ts';
import { rawSyscall, syscall } from './syscall.ts';

/** What mount(2) takes. `data` are the file system's own options, joined by commas. */
export interface MountRequest {
  source?: string | null;
  target: string;
  type?: string | null;
  flags?: readonly MountFlag[];
  data?: string | null;
}

/** mount(2) in this process's mount namespace. The error names type or source, and target. */
export function mount(request: MountRequest): void {
  const { source = null, target, type = null, flags = [], data = null } = request;
  const object = type ?? source;
  const operation = () =>
    object === null ? `change mount ${target}` : `mount ${object} on ${target}`;
  syscall(operation, 'mount', source, target, type, combine(MountFlag, flags), data);
}

/** umount2(2). */
export function unmount(target: string, flags: readonly UnmountFlag[] = []): void {
  syscall(() => `unmount ${target}`, 'umount2', target, combine(UnmountFlag, flags));
}

const ENOENT = 2;
const EINVAL = 22;

/**
 * Unmounts everything that is stacked at `target`, not following a symlink. Nothing mounted, or
 * nothing there, is success.
 */
export function unmountAll(target: string, flags: readonly UnmountFlag[] = ['MNT_DETACH']): void {
  const bits = combine(UnmountFlag, [...flags, 'UMOUNT_NOFOLLOW']);
  for (;;) {
    const result = rawSyscall('umount2', target, bits);
    if (result === -EINVAL || result === -ENOENT) return;
    if (result < 0) throw TsError.ofErrno(-result, `unmount ${target}`);
  }
}
