/**
 * Paths inside a container's root file system.
 *
 * Attack: an image or a shared volume whose path components are symlinks, or are swapped for some
 * between two looks, leads the runtime out of the root (CVE-2021-30465, CVE-2024-45310,
 * CVE-2026-41579). Defence: every path is opened below the root's fd with RESOLVE_IN_ROOT, which
 * neither leaves it nor follows magic links, and only the fd is used after that.
 */
import {
  type OpenFlag,
  type ResolveFlag,
  Result,
  type Sequence,
  type Step,
  steps,
  type Value,
} from '../linux/index.ts';

/** Absolute, without `.`, `..` and repeated slashes: `/a/b`; the root itself is `/`. */
export function normalizePath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/** Whether `path` is `ancestor` or lies below it; both normalized. */
export function isWithin(path: string, ancestor: string): boolean {
  return path === ancestor || path.startsWith(ancestor === '/' ? '/' : `${ancestor}/`);
}

const IN_ROOT: readonly ResolveFlag[] = ['RESOLVE_IN_ROOT'];
/** For places whose own name must be no symlink: then none of the way may be one. */
const IN_ROOT_WITHOUT_SYMLINKS: readonly ResolveFlag[] = ['RESOLVE_IN_ROOT', 'RESOLVE_NO_SYMLINKS'];

export interface InRootOptions {
  /** What is being done there, in front of the error. */
  readonly purpose: string;
  /** Refuse (ELOOP) a path with symlinks. */
  readonly withoutSymlinks?: boolean;
}

/** Opens `path` below `root`. */
export function openStep(
  root: Value,
  path: string,
  flags: readonly OpenFlag[],
  withoutSymlinks = false,
): Step {
  const resolve = withoutSymlinks ? IN_ROOT_WITHOUT_SYMLINKS : IN_ROOT;
  return steps.open({ directory: root, path, flags, resolve });
}

/**
 * Opens the directory `path` below `root` (O_PATH), after making what is missing of it. `mode` is
 * for directories that are made.
 */
export function ensureDirectory(
  sequence: Sequence,
  root: Value,
  path: string,
  { purpose, withoutSymlinks = false, mode = 0o755 }: InRootOptions & { mode?: number },
): Result {
  const step = openStep(root, path, ['O_PATH', 'O_DIRECTORY'], withoutSymlinks);
  const label = `${purpose}: open ${path}`;
  const opened = sharedResult(`fd of ${path}`);
  const into = opened.field;
  sequence.add(step, {
    label,
    into,
    tolerate: 'ENOENT',
    ifTolerated: (missing) => {
      const parts = path.split('/').filter((part) => part !== '');
      parts.forEach((name, depth) => {
        const above = `/${parts.slice(0, depth).join('/')}`;
        const parent = missing.add(openStep(root, above, ['O_PATH', 'O_DIRECTORY']), {
          label: `${purpose}: open ${above}`,
        });
        missing.add(steps.makeDirectory(name, mode, parent), {
          label: `${purpose}: mkdir ${depth === 0 ? '' : above}/${name}`,
          tolerate: 'EEXIST',
        });
        missing.add(steps.close(parent));
      });
      missing.add(step, { label, into });
    },
  });
  return opened;
}

/** Opens the file `path` below `root` (O_PATH), after making an empty one if there is none. */
export function ensureFile(
  sequence: Sequence,
  root: Value,
  path: string,
  { purpose, withoutSymlinks = false }: InRootOptions,
): Result {
  const step = openStep(root, path, ['O_PATH'], withoutSymlinks);
  const label = `${purpose}: open ${path}`;
  const opened = sharedResult(`fd of ${path}`);
  const into = opened.field;
  sequence.add(step, {
    label,
    into,
    tolerate: 'ENOENT',
    ifTolerated: (missing) => {
      const parent = ensureDirectory(missing, root, parentOf(path), { purpose });
      missing.add(
        steps.makeNode({ directory: parent, path: nameOf(path), type: 'S_IFREG', mode: 0o755 }),
        { label: `${purpose}: create ${path}`, tolerate: 'EEXIST' },
      );
      missing.add(steps.close(parent));
      missing.add(step, { label, into });
    },
  });
  return opened;
}

/** The directory part of a normalized path. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash <= 0 ? '/' : path.slice(0, slash);
}

/** The last component of a normalized path. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** A result that several steps store, of branches that come together again. */
export function sharedResult(name: string): Result {
  return new Result(name);
}
