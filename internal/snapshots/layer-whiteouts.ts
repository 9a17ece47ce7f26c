/**
 * Whiteouts of a layer (image-spec layer.md): `.wh.NAME` deletes NAME of the lower layers, and
 * `.wh..wh..opq` everything that they have in its directory.
 *
 * The attack (CVE-2026-95838): thousands of opaque whiteouts over one large directory, each of which
 * walked it. Here a directory is walked once: what is left in it afterwards is the layer's own.
 */
import { readdirSync } from 'node:fs';
import { Errno } from '../errors/errno.ts';
import { TsError } from '../errors/index.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import { closeFd, openEntry, pathOfFd, removeEntry, statEntry } from '../linux/entry.ts';
import { isDirectory } from './file-kind.ts';
import { failed, type LayerTree, removeTree } from './layer-tree.ts';
import { displayPath } from './tar-entry.ts';

export const WHITEOUT_PREFIX = '.wh.';
export const WHITEOUT_META_PREFIX = '.wh..wh.';
export const OPAQUE = '.wh..wh..opq';

export class Whiteouts {
  readonly #tree: LayerTree;
  /** A tree that was empty at the start has nothing to hide: the first layer of a bind mount. */
  readonly #isFresh: boolean;
  /** Paths that this layer has. Only kept when deletions are carried out at once. */
  readonly #own = new Set<string>();
  /** Directories in which nothing of lower layers is left. */
  readonly #cleared = new Set<string>();

  constructor(tree: LayerTree) {
    this.#tree = tree;
    this.#isFresh = !tree.isOverlay && readdirSync(pathOfFd(tree.rootFd)).length === 0;
  }

  /** The layer has an entry at this path, and so all directories above it. */
  note(parts: readonly string[]): void {
    if (this.#tree.isOverlay || this.#isFresh) return;
    for (let length = parts.length; length > 0; length--) {
      const path = parts.slice(0, length).join('/');
      if (this.#own.has(path)) return;
      this.#own.add(path);
    }
  }

  /** Hides all that lower layers have in the directory `parts`. */
  opaque(parts: readonly string[]): void {
    if (this.#tree.isOverlay) {
      const { dirFd } = this.#tree.place([...parts, '']);
      this.#tree.marks.setOpaque(dirFd, '');
      return;
    }
    if (this.#isFresh) return;
    const inside = this.#tree.existingPlace([...parts, '']);
    if (inside !== undefined) this.#clearAt(inside.dirFd, Buffer.from('.'), parts);
  }

  /** Hides what lower layers have at `name` in the directory `parts`. */
  remove(parts: readonly string[], name: string): void {
    const path = [...parts, name];
    if (name === '' || name === '.' || name === '..') {
      const shown = displayPath([...parts, `${WHITEOUT_PREFIX}${name}`].join('/'));
      throw new TsError('InvalidArgument', `whiteout ${shown}: names no file`);
    }
    if (this.#tree.isOverlay) this.#mark(path);
    else if (!this.#isFresh) this.#delete(path);
  }

  #mark(path: readonly string[]): void {
    const { dirFd, name } = this.#tree.place(path);
    const result = this.#tree.marks.makeWhiteout(dirFd, name);
    if (result >= 0) return;
    if (result !== -Errno.EEXIST) throw failed('make whiteout', path.join('/'), result);
    const present = statEntry(dirFd, name);
    if (typeof present === 'object' && isDirectory(present))
      this.#tree.marks.setOpaque(dirFd, name);
  }

  #delete(path: readonly string[]): void {
    const place = this.#tree.existingPlace(path);
    if (place === undefined) return;
    const { dirFd, name } = place;
    if (!this.#own.has(path.join('/'))) {
      this.#tree.remove(place, path.join('/'));
      return;
    }
    this.#clearAt(dirFd, name, path);
  }

  /** Clears a directory through a descriptor of its own; a file of this layer is left alone. */
  #clearAt(dirFd: number, name: Buffer, path: readonly string[]): void {
    const fd = openEntry(dirFd, name, OpenFlag.O_PATH | OpenFlag.O_DIRECTORY);
    if (fd < 0) return;
    try {
      this.#clear(fd, path);
    } finally {
      closeFd(fd);
      this.#tree.forget(); // directories that are open there may be removed ones
    }
  }

  /** Removes from an open directory what is not the layer's own. */
  #clear(dirFd: number, parts: readonly string[]): void {
    if (this.#isCleared(parts)) return;
    for (const child of readdirSync(pathOfFd(dirFd), { encoding: 'buffer' })) {
      const path = [...parts, child.toString('latin1')];
      if (!this.#own.has(path.join('/'))) removeChild(dirFd, child);
      else this.#clearChild(dirFd, child, path);
    }
    this.#cleared.add(parts.join('/'));
  }

  #clearChild(dirFd: number, child: Buffer, path: readonly string[]): void {
    if (this.#cleared.has(path.join('/'))) return;
    const fd = openEntry(dirFd, child, OpenFlag.O_PATH | OpenFlag.O_DIRECTORY);
    if (fd < 0) return; // not a directory
    try {
      this.#clear(fd, path);
    } finally {
      closeFd(fd);
    }
  }

  #isCleared(parts: readonly string[]): boolean {
    for (let length = parts.length; length >= 0; length--) {
      if (this.#cleared.has(parts.slice(0, length).join('/'))) return true;
    }
    return false;
  }
}

function removeChild(dirFd: number, child: Buffer): void {
  const result = removeEntry(dirFd, child, false);
  if (result === -Errno.EISDIR || result === -Errno.EPERM) removeTree(dirFd, child);
  else if (result < 0) throw failed('remove', child.toString('latin1'), result);
}
