/**
 * Each snapshot a file system of ZFS, `DATASET/ID`, made as a clone of its parent's `@snapshot`.
 * ZFS is not in the kernel's sources, and neither are its headers: it is asked by its command line.
 */
import { TsError } from '../errors/index.ts';
import { isOnPath, runProgram, saidOnStderr } from './program.ts';
import { mountOfRoot } from './root-mount.ts';
import type { DriverSnapshot, SnapshotDriver } from './snapshot-driver.ts';
import type { Mount, SnapshotUsage } from './snapshotter.ts';
import { Turns } from './turns.ts';

/** Name of the snapshot of a file system from which its children are cloned, as containerd names it. */
const SNAPSHOT = 'snapshot';
const LEGACY = ['-o', 'mountpoint=legacy'] as const;

export class ZfsDriver implements SnapshotDriver {
  readonly name = 'zfs';
  readonly root: string;
  readonly #dataset: string;
  /** A file system goes before the one that it was cloned from: removals keep their order. */
  readonly #turns = new Turns();

  /** `dataset` is what the file systems are made in. */
  constructor(root: string, dataset: string) {
    this.root = root;
    this.#dataset = dataset;
  }

  async create({ id, parents }: DriverSnapshot): Promise<'made'> {
    const [parent] = parents;
    const args =
      parent === undefined
        ? ['create', ...LEGACY, this.#path(id)]
        : ['clone', ...LEGACY, `${this.#path(parent)}@${SNAPSHOT}`, this.#path(id)];
    await this.#zfs(...args);
    return 'made';
  }

  async commit(id: bigint): Promise<void> {
    const snapshot = `${this.#path(id)}@${SNAPSHOT}`;
    try {
      await this.#zfs('snapshot', snapshot);
    } catch (thrown) {
      // A daemon died over the commit: since then there may be more in it.
      if (!saidOnStderr(thrown, /already exists/)) throw thrown;
      await this.#zfs('destroy', snapshot);
      await this.#zfs('snapshot', snapshot);
    }
  }

  mounts({ id, kind }: DriverSnapshot): Mount[] {
    const options = kind === 'active' ? [] : ['ro'];
    return [{ type: 'zfs', source: this.#path(id), target: '', options }];
  }

  /** ZFS tells no number of inodes. */
  async usage({ id }: DriverSnapshot): Promise<SnapshotUsage> {
    const used = await this.#zfs('get', '-Hp', '-o', 'value', 'used', this.#path(id));
    if (/^\d+$/.test(used)) return { sizeBytes: BigInt(used), inodes: 0n };
    throw new TsError('Unknown', `zfs get used ${this.#path(id)}: not a number: ${used}`);
  }

  async remove(id: bigint): Promise<void> {
    try {
      await this.#zfs('destroy', '-r', this.#path(id));
    } catch (thrown) {
      if (!saidOnStderr(thrown, /does not exist/)) throw thrown; // it was never made
    }
  }

  /** The youngest first: clones go before what they were made from. */
  async ids(): Promise<bigint[]> {
    const list = await this.#zfs('list', '-Hr', '-d', '1', '-o', 'name', this.#dataset);
    const prefix = `${this.#dataset}/`;
    const names = list.split('\n').filter((name) => name.startsWith(prefix));
    const ids = names.map((name) => name.slice(prefix.length));
    return ids
      .filter((name) => /^[1-9][0-9]*$/.test(name))
      .map(BigInt)
      .sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
  }

  async #zfs(...args: readonly string[]): Promise<string> {
    return await this.#turns.take(() => runProgram('zfs', args));
  }

  #path(id: bigint): string {
    return `${this.#dataset}/${id}`;
  }
}

/** The dataset that is mounted at `root`. Throws Unknown, as containerd, where there is none. */
export function zfsDataset(root: string): string {
  const { type, source } = mountOfRoot(root);
  const hasProgram = isOnPath('zfs');
  if (type === 'zfs' && hasProgram) return source;
  const missing = hasProgram ? '' : ' (there is no program zfs)';
  throw new TsError(
    'Unknown',
    `path ${root} must be a zfs filesystem to be used with the zfs snapshotter${missing}: skip plugin`,
  );
}
