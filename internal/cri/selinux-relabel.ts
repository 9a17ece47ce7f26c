/**
 * Gives a volume the label of the pod that mounts it (`selinux_relabel`). Another container may write to the volume at the
 * same time: no directory is left by a link that it put there, since each is opened once and used by its descriptor.
 */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { Mount } from '../api/generated/runtime.v1.ts';
import { errnoName, TsError } from '../errors/index.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import { closeFd, type Name, openEntry, pathOfFd } from '../linux/entry.ts';
import { setXattr } from '../linux/xattr.ts';

const ATTRIBUTE = 'security.selinux';
const DIRECTORY = OpenFlag.O_RDONLY | OpenFlag.O_DIRECTORY;
/** Errors of a tree that changes meanwhile, and of entries that are no directories. */
const PASSING: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP']);
/** The event loop is given way after so many entries: a volume may hold millions. */
const AT_ONCE = 500;

/** Directories of the system, whose labels the host lives by (as go-selinux refuses them). */
const SYSTEM: ReadonlySet<string> = new Set(
  (
    '/ /bin /boot /dev /etc /etc/passwd /etc/pki /etc/shadow /home /lib /lib64 /media /opt /proc /root /run /sbin /srv ' +
    '/sys /system /tmp /usr /var /var/lib /var/log'
  ).split(' '),
);

/**
 * Labels a file or a tree; `path` has been resolved. A file system without labels is left as it is. Throws
 * InvalidArgument for a directory of the system.
 */
export async function relabel(path: string, label: string): Promise<void> {
  if (label === '') return;
  if (SYSTEM.has(path)) {
    throw new TsError('InvalidArgument', `selinux_relabel of ${path}: not allowed`, {
      advice: 'mount a directory below it',
    });
  }
  const parent = openEntry(-1, dirname(path), DIRECTORY);
  if (parent < 0) throw TsError.ofErrno(-parent, `open directory ${dirname(path)}`);
  try {
    await relabelEntry(parent, basename(path), Buffer.from(label), { count: 0 });
  } finally {
    closeFd(parent);
  }
}

/** Labels the files of a pod, and of a container's mounts those that ask for it. */
export async function relabelAll(
  label: string,
  podFiles: readonly string[],
  mounts: readonly Pick<Mount, 'hostPath' | 'selinuxRelabel'>[],
): Promise<void> {
  if (label === '') return;
  const asked = mounts.filter(({ selinuxRelabel }) => selinuxRelabel);
  for (const path of [...podFiles, ...asked.map(({ hostPath }) => hostPath)]) {
    if (path !== '' && existsSync(path)) await relabel(realpathSync(path), label);
  }
}

async function relabelEntry(
  dirFd: number,
  name: Name,
  value: Buffer,
  done: { count: number },
): Promise<void> {
  const result = setXattr(dirFd, name, ATTRIBUTE, value);
  if (result < 0) {
    const errno = errnoName(-result);
    if (errno === 'ENOENT' || errno === 'EOPNOTSUPP') return;
    throw TsError.ofErrno(-result, `label ${String(name)}`);
  }
  if (++done.count % AT_ONCE === 0) await setImmediate();
  const fd = openEntry(dirFd, name, DIRECTORY);
  if (fd < 0) {
    if (PASSING.has(errnoName(-fd))) return;
    throw TsError.ofErrno(-fd, `open directory ${String(name)}`);
  }
  try {
    for (const child of readdirSync(pathOfFd(fd), { encoding: 'buffer' })) {
      await relabelEntry(fd, child, value, done);
    }
  } finally {
    closeFd(fd);
  }
}
