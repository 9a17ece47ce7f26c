/**
 * A bundle: the directory on tmpfs that a shim works in, and that a daemon finds its tasks by after
 * a restart. Its layout is containerd's, so that either daemon finds the other's tasks:
 * config.json, rootfs/, work (a link to the task's directory on disk), log (a fifo),
 * shim-binary-path, bootstrap.json, sandbox (containerd core/runtime/v2/bundle.go).
 *
 * `intent` is ours: while it is there, whoever made the bundle is about to create or to delete the
 * task. A daemon that finds it at its start finishes the deletion; nobody else waits for the task.
 *
 * Its files are small and on tmpfs, and of what is on disk only names are made: each of some thirty calls for a task takes
 * microseconds, and a tenth of a millisecond by way of a thread of libuv's. So they are synchronous; only what may be large is
 * not.
 */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { AnyMessage } from '../api/any.ts';
import { isErrno, TsError } from '../errors/index.ts';
import { readMountInfo, unmountAll } from '../linux/index.ts';
import { bareAnswer, parseBootstrapFile, type ShimAddress } from './bootstrap-answer.ts';

/** Name of the directory of all bundles, below the daemon's state and root directories. */
export const TASK_DIRECTORY = 'io.containerd.runtime.v2.task';

/** Where bundles live. */
export interface BundleRoots {
  /** On tmpfs: gone with the machine's uptime, as are the tasks. */
  readonly state: string;
  /** On disk. */
  readonly root: string;
}

export type Intent = 'create' | 'delete';

export class Bundle {
  readonly namespace: string;
  readonly id: string;
  readonly path: string;
  readonly rootfs: string;
  readonly #work: string;

  /** Names a bundle, without touching it. Both names must be valid identifiers. */
  constructor(roots: BundleRoots, namespace: string, id: string) {
    this.namespace = namespace;
    this.id = id;
    this.path = join(roots.state, namespace, id);
    this.rootfs = join(this.path, 'rootfs');
    this.#work = join(roots.root, namespace, id);
  }

  /** `NAMESPACE/ID`: what tells the task from all others. */
  get key(): string {
    return `${this.namespace}/${this.id}`;
  }

  /**
   * Makes the directories and writes the spec, with the intent to create. Throws AlreadyExists when
   * the bundle is there. What was made is removed when a later step fails.
   */
  async create(spec: AnyMessage | undefined): Promise<void> {
    const gid = mappedRootGid(spec);
    mkdirSync(dirname(this.path), { recursive: true, mode: 0o711 });
    try {
      mkdirSync(this.path, { mode: 0o700 });
    } catch (thrown) {
      throw TsError.from(thrown, `make bundle ${this.path}`);
    }
    try {
      await this.setIntent('create');
      // A container with a user namespace has to reach its rootfs: its root may pass, no one else.
      if (gid !== 0) {
        chownSync(this.path, 0, gid);
        chmodSync(this.path, 0o710);
      }
      mkdirSync(this.rootfs, { mode: 0o711 });
      mkdirSync(dirname(this.#work), { recursive: true, mode: 0o711 });
      await removeTree(this.#work);
      mkdirSync(this.#work, { mode: 0o711 });
      symlinkSync(this.#work, join(this.path, 'work'));
      if (spec !== undefined) writeFileSync(join(this.path, 'config.json'), spec.value);
    } catch (thrown) {
      const error = TsError.from(thrown, `make bundle ${this.path}`);
      await this.remove().catch((cleanup: unknown) => {
        error.cleanup.push(TsError.from(cleanup));
      });
      throw error;
    }
  }

  /** Makes a directory on disk that lasts as long as the bundle; for root alone. */
  async makeDirectory(name: string): Promise<string> {
    const path = join(this.#work, name);
    try {
      mkdirSync(path, { mode: 0o700 });
    } catch (thrown) {
      throw TsError.from(thrown, `make directory ${path}`);
    }
    return path;
  }

  /** Writes a file of the bundle, whole or not at all. */
  async write(name: string, text: string): Promise<void> {
    const path = join(this.path, name);
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /** Text of a file of the bundle, or undefined when there is none. */
  async read(name: string): Promise<string | undefined> {
    try {
      return readFileSync(join(this.path, name), 'utf8');
    } catch (thrown) {
      if (isErrno(thrown, 'ENOENT')) return undefined;
      throw TsError.from(thrown, `read ${join(this.path, name)}`);
    }
  }

  /**
   * How the shim is reached, or undefined before it has started. The `address` file of a daemon
   * before 1.7 is read, too, and replaced.
   */
  async address(): Promise<ShimAddress | undefined> {
    const bootstrap = await this.read('bootstrap.json');
    if (bootstrap !== undefined) return parseBootstrapFile(bootstrap);
    const bare = await this.read('address');
    if (bare === undefined) return undefined;
    const address = bareAnswer(bare);
    await this.writeAddress(address);
    rmSync(join(this.path, 'address'), { force: true });
    return address;
  }

  async writeAddress(address: ShimAddress): Promise<void> {
    await this.write('bootstrap.json', JSON.stringify(address));
  }

  async setIntent(intent: Intent): Promise<void> {
    await this.write('intent', intent);
  }

  async clearIntent(): Promise<void> {
    rmSync(join(this.path, 'intent'), { force: true });
  }

  async intent(): Promise<Intent | undefined> {
    const intent = await this.read('intent');
    return intent === 'create' || intent === 'delete' ? intent : undefined;
  }

  /**
   * Removes the bundle and the task's directory on disk. Mounts on the rootfs are detached first,
   * so that no file behind them is deleted; when one stays, so does the bundle, with an error.
   */
  async remove(): Promise<void> {
    unmountAll(this.rootfs);
    try {
      rmdirSync(this.rootfs);
    } catch (thrown) {
      // A directory that cannot be removed is the one case that may have mounts further inside;
      // to look for them costs a table of all mounts of the machine.
      if (!isErrno(thrown, 'ENOENT')) this.#unmountInside();
    }
    await removeByRename(this.path, (hidden) => rmSync(hidden, { recursive: true, force: true }));
    await removeByRename(this.#work);
  }

  #unmountInside(): void {
    for (const point of this.#mountsInside().reverse()) unmountAll(point);
    const [left] = this.#mountsInside();
    if (left !== undefined) {
      throw new TsError('FailedPrecondition', `remove bundle ${this.path}: ${left} is mounted`);
    }
  }

  #mountsInside(): string[] {
    return readMountInfo()
      .map(({ mountPoint }) => mountPoint)
      .filter((point) => point === this.rootfs || point.startsWith(`${this.rootfs}/`));
  }
}

/** Deletes a directory that is never seen half deleted: it first gets a hidden name, under which `remove` finds it. */
export async function removeByRename(
  path: string,
  remove: (hidden: string) => unknown = removeTree,
): Promise<void> {
  const slash = path.lastIndexOf('/');
  const hidden = `${path.slice(0, slash)}/.${path.slice(slash + 1)}`;
  try {
    try {
      renameSync(path, hidden);
    } catch (thrown) {
      if (!isErrno(thrown, 'ENOTEMPTY', 'EEXIST')) throw thrown;
      await rm(hidden, { recursive: true, force: true }); // of a deletion that was cut off
      renameSync(path, hidden);
    }
    await remove(hidden);
  } catch (thrown) {
    if (!isErrno(thrown, 'ENOENT')) throw TsError.from(thrown, `remove ${path}`);
  }
}

/** Deletes a directory with what is in it, if it is there: mostly nothing, but the work of a runtime may be large. */
async function removeTree(path: string): Promise<void> {
  try {
    rmdirSync(path);
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT')) return;
    await rm(path, { recursive: true, force: true });
  }
}

/** The host's gid of the container's gid 0; 0 without a user namespace. */
function mappedRootGid(spec: AnyMessage | undefined): number {
  if (spec === undefined) return 0;
  try {
    const parsed = JSON.parse(Buffer.from(spec.value).toString('utf8'));
    const mappings: unknown = parsed?.linux?.gidMappings;
    if (!Array.isArray(mappings)) return 0;
    const root = mappings.find((mapping) => mapping?.containerID === 0);
    return Number.isSafeInteger(root?.hostID) ? root.hostID : 0;
  } catch (cause) {
    throw new TsError('InvalidArgument', `spec of the container: ${(cause as Error).message}`, {
      code: 'TS_SPEC_JSON',
      cause,
    });
  }
}
