/**
 * Tells which paths may hold up whoever looks at them: a file system that asks somebody else (a
 * server on the network, a program behind FUSE) may never answer.
 *
 * Nothing of such a file system is touched to find out. A path is followed part by part; where a part
 * is a mount point the mount table says of what kind, and only what is known to answer is looked at.
 */
import { lstatSync, readlinkSync } from 'node:fs';
import { posix } from 'node:path';
import { type MountInfo, readMountInfo } from '../linux/index.ts';

/** File systems that ask nobody but the kernel and the machine's own disks. What is missing here may hang. */
const ANSWERING = new Set(
  (
    'bcachefs bpf btrfs cgroup cgroup2 configfs debugfs devpts devtmpfs erofs exfat ext2 ext3 ext4 f2fs ' +
    'hugetlbfs iso9660 jfs mqueue msdos nsfs ntfs3 proc pstore ramfs reiserfs rootfs securityfs selinuxfs ' +
    'squashfs sysfs tmpfs tracefs udf vfat xfs zfs'
  ).split(' '),
);

/** Options of an overlay that name directories of other file systems. */
const LAYER_OPTIONS = new Set(['lowerdir', 'lowerdir+', 'datadir+', 'upperdir', 'workdir']);

/** Symlinks of procfs that lead to where their text does not say. */
const MAGIC_LINK = /^\/proc\/.*\/(?:cwd|exe|root|fd\/\d+|map_files\/[^/]+|ns\/[a-z_]+)$/;

const GREATEST_LINK_COUNT = 40;
/** Overlays of overlays; the kernel allows two. */
const GREATEST_DEPTH = 4;

/** The mounts of this process at one moment. */
export class MountTable {
  readonly #topmost: ReadonlyMap<string, MountInfo>;
  /** Names that were no symlinks: most paths of a container begin with the same. */
  readonly #plain = new Set<string>();

  constructor(mounts: readonly MountInfo[] = readMountInfo()) {
    this.#topmost = new Map(mounts.map((mount) => [mount.mountPoint, mount]));
  }

  /** Whether a look at `path`, which is absolute, may never return. */
  mayHang(path: string): boolean {
    return this.#follow(path, 0) === undefined;
  }

  /** As {@link mayHang}, of anything below it, too. */
  mayHangBelow(path: string): boolean {
    const real = this.#follow(path, 0);
    if (real === undefined) return true;
    const prefix = real === '/' ? '/' : `${real}/`;
    return [...this.#topmost.values()].some((mount) => {
      return mount.mountPoint.startsWith(prefix) && this.#mountMayHang(mount, 0);
    });
  }

  /** Whether layers in the options of an overlay that is to be mounted may hang. */
  layersMayHang(options: readonly string[], depth = 0): boolean {
    return options.some((option) => {
      const at = option.indexOf('=');
      if (!LAYER_OPTIONS.has(option.slice(0, at))) return false;
      const layers = option.slice(at + 1).split(':');
      return layers.some((layer) => layer !== '' && this.#follow(layer, depth + 1) === undefined);
    });
  }

  /** The path without symlinks, as far as it exists; undefined when it may hang. */
  #follow(path: string, depth: number): string | undefined {
    if (depth > GREATEST_DEPTH || !path.startsWith('/')) return undefined; // cannot be known
    const root = this.#topmost.get('/');
    if (root !== undefined && this.#mountMayHang(root, depth)) return undefined;
    const pending = path.split('/');
    let at = '/';
    let links = 0;
    while (pending.length > 0) {
      const part = pending.shift() as string;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        at = posix.dirname(at);
        continue;
      }
      const next = posix.join(at, part);
      const mount = this.#topmost.get(next);
      if (mount !== undefined) {
        if (this.#mountMayHang(mount, depth)) return undefined;
        at = next;
        continue;
      }
      if (!this.#isSymlink(next)) {
        at = next;
        continue;
      }
      if (MAGIC_LINK.test(next) || ++links > GREATEST_LINK_COUNT) return undefined;
      const target = readlinkSync(next);
      if (target.startsWith('/')) at = '/';
      pending.unshift(...target.split('/'));
    }
    return at;
  }

  #isSymlink(path: string): boolean {
    if (this.#plain.has(path)) return false;
    const entry = lstatSync(path, { throwIfNoEntry: false });
    if (entry?.isSymbolicLink() === true) return true;
    if (entry !== undefined) this.#plain.add(path);
    return false;
  }

  #mountMayHang({ type, superOptions }: MountInfo, depth: number): boolean {
    if (type !== 'overlay') return !ANSWERING.has(type);
    return this.layersMayHang(superOptions, depth);
  }
}
