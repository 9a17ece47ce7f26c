/**
 * Reads files of a snapshot without mounting it: looks through the directories of its layers, the
 * uppermost first, as overlayfs does. A mount and its unmount would wait for the disk to be synced
 * (containerd issue 6478), and would be one more thing to clean up.
 *
 * The layers are the daemon's own, and nothing runs in the container yet: nobody changes them meanwhile.
 * Links are followed here, inside of the layers, and never by the kernel.
 */
import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  type Stats,
} from 'node:fs';
import { join } from 'node:path';
import type { Mount } from '../api/generated/containerd.types.ts';
import type { Init } from '../api/init.ts';
import { TsError } from '../errors/index.ts';
import { getXattr } from '../linux/xattr.ts';

/** Largest file that is read: a passwd with tens of thousands of users (CVE-2026-47262: one of 2 GB). */
export const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_LINKS = 40;
const OPAQUE = ['trusted.overlay.opaque', 'user.overlay.opaque'];

/** The directories of a snapshot's layers, the uppermost first; undefined when its mounts are of another kind. */
export function layersOf(mounts: readonly Pick<Mount, 'type' | 'source' | 'options'>[]) {
  const [mount, ...more] = mounts;
  if (mount === undefined || more.length > 0) return undefined;
  if (mount.type === 'bind') return [mount.source];
  if (mount.type !== 'overlay') return undefined;
  const option = (name: string): string | undefined =>
    mount.options.find((text) => text.startsWith(`${name}=`))?.slice(name.length + 1);
  const upper = option('upperdir');
  const lower = option('lowerdir');
  if (lower === undefined) return undefined;
  return [...(upper === undefined ? [] : [upper]), ...lower.split(':')];
}

/** Reads files of a root file system by its mounts. */
export function filesOf(
  mounts: readonly Pick<Init<Mount>, 'type' | 'source' | 'options'>[],
): (path: string) => string | undefined {
  const layers = layersOf(
    mounts.map(({ type = '', source = '', options = [] }) => ({
      type,
      source,
      options: [...options],
    })),
  );
  if (layers === undefined) return () => undefined;
  const files = new LayeredFiles(layers);
  return (path) => files.read(path);
}

interface Found {
  readonly path: string;
  readonly stat: Stats;
}

/** The files of one snapshot. */
export class LayeredFiles {
  readonly #layers: readonly string[];

  constructor(layers: readonly string[]) {
    this.#layers = layers;
  }

  /** A text file's content; undefined when nothing is there. Throws when it is no regular file or too large. */
  read(path: string): string | undefined {
    const found = this.#resolve(path);
    if (found === undefined) return undefined;
    if (!found.stat.isFile()) {
      throw new TsError('InvalidArgument', `${path} of the image: not a regular file`);
    }
    return readBounded(found.path, path);
  }

  /** A path without links and `..` that leads to the same place; undefined when nothing is there. */
  canonical(path: string): string | undefined {
    const names = this.#follow(path);
    return names && `/${names.join('/')}`;
  }

  /** What is at a path that has no links, itself not followed. */
  at(canonical: string): { readonly path: string; readonly stat: Stats } | undefined {
    return this.#find(componentsOf(canonical));
  }

  /** Names in a directory that is given by a path without links, of all its layers. */
  names(canonical: string): string[] {
    const components = componentsOf(canonical);
    const seen = new Set<string>();
    for (const layer of this.#layers) {
      const directory = join(layer, ...components);
      const stat = lstatSync(directory, { throwIfNoEntry: false });
      if (stat?.isDirectory()) for (const name of readdirSync(directory)) seen.add(name);
    }
    return [...seen].filter((name) => this.#find([...components, name]) !== undefined).sort();
  }

  #resolve(path: string): Found | undefined {
    const names = this.#follow(path);
    return names && this.#find(names);
  }

  /** The components of the place that a path leads to; undefined when nothing is there. */
  #follow(path: string): string[] | undefined {
    let rest = componentsOf(path);
    let at: string[] = [];
    let links = 0;
    while (rest.length > 0) {
      const [name = '', ...after] = rest;
      rest = after;
      if (name === '..') {
        at = at.slice(0, -1); // above the root is the root
        continue;
      }
      const found = this.#find([...at, name]);
      if (found === undefined) return undefined;
      if (!found.stat.isSymbolicLink()) {
        at.push(name);
        continue;
      }
      if (++links > MAX_LINKS) throw new TsError('InvalidArgument', `${path} of the image: ELOOP`);
      const target = readlinkSync(found.path);
      if (target.startsWith('/')) at = [];
      rest = [...componentsOf(target), ...rest];
    }
    return at;
  }

  /** What a path without links leads to: the first layer's that has it, unless one above it hides it. */
  #find(names: readonly string[]): Found | undefined {
    for (const layer of this.#layers) {
      let isHidden = false;
      let path = layer;
      let stat: Stats | undefined = lstatSync(layer, { throwIfNoEntry: false });
      for (const name of names) {
        if (stat === undefined || !stat.isDirectory()) break;
        isHidden ||= isOpaque(path);
        path = join(path, name);
        stat = lstatSync(path, { throwIfNoEntry: false });
        if (stat !== undefined && isWhiteout(stat)) return undefined;
        // A file here hides directories of that name below.
        if (stat !== undefined && !stat.isDirectory() && path !== join(layer, ...names))
          return undefined;
      }
      if (stat !== undefined && path === join(layer, ...names)) return { path, stat };
      if (isHidden) return undefined;
    }
    return undefined;
  }
}

function componentsOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

const isWhiteout = (stat: Stats): boolean => stat.isCharacterDevice() && stat.rdev === 0;

function isOpaque(directory: string): boolean {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    return OPAQUE.some((key) => getXattr(fd, '', key)?.toString() === 'y');
  } finally {
    closeSync(fd);
  }
}

function readBounded(hostPath: string, path: string): string {
  const fd = openSync(hostPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const chunks: Buffer[] = [];
    let total = 0;
    for (;;) {
      const chunk = Buffer.alloc(64 * 1024);
      const bytes = readSync(fd, chunk);
      if (bytes === 0) return Buffer.concat(chunks).toString('utf8');
      total += bytes;
      if (total > MAX_FILE_BYTES) {
        throw new TsError(
          'ResourceExhausted',
          `${path} of the image: larger than ${MAX_FILE_BYTES} bytes`,
          {
            advice: 'name the user by its number, so that the file is not needed',
          },
        );
      }
      chunks.push(chunk.subarray(0, bytes));
    }
  } finally {
    closeSync(fd);
  }
}
