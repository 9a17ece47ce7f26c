import type { Mount } from '../api/generated/containerd.types.ts';
import type { MountTable } from './mount-table.ts';
import type { OperationRunner } from './operation-runner.ts';
import { mountRootfs, unmountRootfs } from './rootfs.ts';
import { mountRootfsByChild, unmountRootfsByChild } from './rootfs-by-child.ts';

/** The root file system of one container: mounted here, or by a child where that might not come back. */
export class RootfsMounter {
  /** Whether one of the mounts may hang. */
  readonly mayHang: boolean;
  readonly #rootfs: string;
  readonly #mounts: readonly Mount[];
  readonly #runner: OperationRunner;

  /** `table` has the mounts of this moment. */
  constructor(
    rootfs: string,
    mounts: readonly Mount[],
    table: MountTable,
    runner: OperationRunner,
  ) {
    this.#rootfs = rootfs;
    this.#mounts = mounts;
    this.#runner = runner;
    this.mayHang = mounts.some(({ type, source, options }) => {
      if (type === 'overlay') return table.layersMayHang(options);
      if (options.includes('bind') || options.includes('rbind')) return table.mayHang(source);
      return !source.startsWith('/dev/'); // a disk of this machine, or who knows what
    });
  }

  /** Mounts all or nothing. */
  async mount(signal: AbortSignal): Promise<void> {
    if (!this.mayHang) mountRootfs(this.#rootfs, this.#mounts);
    else await this.#runner.run(mountRootfsByChild(this.#rootfs, this.#mounts), signal);
  }

  async unmount(): Promise<void> {
    if (!this.mayHang) unmountRootfs(this.#rootfs);
    else await this.#runner.run(unmountRootfsByChild(this.#rootfs));
  }
}
