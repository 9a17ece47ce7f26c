import { TsError } from '../errors/index.ts';
import { FileType } from '../linux/constants/file.ts';
import { makeNode, type Name } from '../linux/entry.ts';
import { getXattr, setXattr } from '../linux/xattr.ts';

/** Attributes that overlayfs itself keeps on files of its layers. */
export function isOverlayXattr(key: string): boolean {
  return key.startsWith('trusted.overlay.') || key.startsWith('user.overlay.');
}

/** How overlayfs notes in an upper directory what is deleted (kernel overlayfs.rst). */
export interface OverlayMarks {
  /** Hides what lower layers have in a directory. */
  setOpaque(dirFd: number, name: Name): void;
  isOpaque(dirFd: number, name: Name): boolean;
  /** Hides what lower layers have at a name: 0 or the negated errno. */
  makeWhiteout(dirFd: number, name: Name): number;
}

/** Marks with `user.overlay.*` attributes (mounts with `userxattr`) or `trusted.overlay.*`. */
export function overlayMarks(hasUserXattrs: boolean): OverlayMarks {
  const opaque = `${hasUserXattrs ? 'user' : 'trusted'}.overlay.opaque`;
  return {
    setOpaque(dirFd, name) {
      const result = setXattr(dirFd, name, opaque, Buffer.from('y'));
      if (result < 0) throw TsError.ofErrno(-result, `set ${opaque} on ${name.toString()}`);
    },
    isOpaque(dirFd, name) {
      return getXattr(dirFd, name, opaque)?.toString('latin1') === 'y';
    },
    makeWhiteout(dirFd, name) {
      return makeNode(dirFd, name, FileType.S_IFCHR, { major: 0, minor: 0 });
    },
  };
}
