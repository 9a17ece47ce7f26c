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
  const what = flags.includes('MS_REMOUNT') ? 'remount' : 'mount';
  const operation = () => `${what} ${type ?? source ?? 'propagation'} on ${target}`;
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

/** Options of mount(8) that are flags of mount(2): what they set or, negated, clear. */
const OPTION_FLAGS: ReadonlyMap<string, { set: number; clear: number }> = new Map(
  (
    [
      ['ro', 'MS_RDONLY', 'rw'],
      ['nosuid', 'MS_NOSUID', 'suid'],
      ['nodev', 'MS_NODEV', 'dev'],
      ['noexec', 'MS_NOEXEC', 'exec'],
      ['sync', 'MS_SYNCHRONOUS', 'async'],
      ['dirsync', 'MS_DIRSYNC', undefined],
      ['mand', 'MS_MANDLOCK', 'nomand'],
      ['noatime', 'MS_NOATIME', 'atime'],
      ['nodiratime', 'MS_NODIRATIME', 'diratime'],
      ['relatime', 'MS_RELATIME', 'norelatime'],
      ['strictatime', 'MS_STRICTATIME', 'nostrictatime'],
      ['bind', 'MS_BIND', undefined],
      ['rec', 'MS_REC', undefined],
    ] as const
  ).flatMap(([name, flag, negation]) => {
    const bit = MountFlag[flag];
    const entries: [string, { set: number; clear: number }][] = [[name, { set: bit, clear: 0 }]];
    if (negation !== undefined) entries.push([negation, { set: 0, clear: bit }]);
    return entries;
  }),
);

/** Flags of mount(2) and what is left for the file system, from mount(8)'s words. */
export function parseMountOptions(options: readonly string[]): { flags: number; data: string } {
  let flags = 0;
  const data: string[] = [];
  for (const option of options) {
    const known = OPTION_FLAGS.get(option);
    if (option === 'rbind') flags |= MountFlag.MS_BIND | MountFlag.MS_REC;
    else if (known !== undefined) flags = (flags | known.set) & ~known.clear;
    else if (option !== 'defaults' && option !== 'loop') data.push(option);
  }
  return { flags, data: data.join(',') };
}

/**
 * Mounts in the caller's mount namespace. A read-only bind mount takes two calls (man 2 mount); when
 * the second fails the first is undone.
 */
export function mountAt(
  source: string,
  target: string,
  type: string,
  options: readonly string[],
): void {
  const { flags, data } = parseMountOptions(options);
  const call = (bits: number): number => rawSyscall('mount', source, target, type, bits, data);
  const isBind = (flags & MountFlag.MS_BIND) !== 0;
  const bindFlags = flags & (MountFlag.MS_BIND | MountFlag.MS_REC);
  const result = call(isBind ? bindFlags : flags);
  if (result < 0) throw failure(result, source, target, type);
  if (!isBind || flags === bindFlags) return;
  const remounted = call(flags | MountFlag.MS_REMOUNT);
  if (remounted >= 0) return;
  unmountAt(target);
  throw failure(remounted, source, target, type);
}

function failure(result: number, source: string, target: string, type: string): TsError {
  return TsError.ofErrno(-result, `mount ${type} ${source} on ${target}`, { path: target });
}

/** Unmounts what is on `target` lazily; nothing mounted there is fine. */
export function unmountAt(target: string): void {
  const flags = UnmountFlag.MNT_DETACH | UnmountFlag.UMOUNT_NOFOLLOW;
  const result = rawSyscall('umount2', target, flags);
  if (result < 0 && result !== -EINVAL) throw TsError.ofErrno(-result, `unmount ${target}`);
}
