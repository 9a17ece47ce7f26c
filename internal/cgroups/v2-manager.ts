import { constants, openSync } from 'node:fs';
import { posix } from 'node:path';
import { TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';
import type { CgroupFiles } from './cgroup-files.ts';
import type { CgroupManager, CgroupResources, UpdateOptions } from './cgroup-manager.ts';
import {
  cgroupPids,
  cgroupTreePids,
  hasErrno,
  joinCgroup,
  makeCgroup,
  refuseBusyCgroup,
  refuseRootCgroup,
  removeCgroup,
  removeUnused,
  signalProcesses,
  unmakeCgroups,
} from './cgroup-tree.ts';
import { killProcesses } from './kill-processes.ts';
import { watchV2Oom } from './oom-watch.ts';
import type { CgroupStatistics } from './statistics.ts';
import { parseFlatKeyed } from './statistics-text.ts';
import { enableControllers } from './v2-controllers.ts';
import { setV2Devices, setV2Limits } from './v2-limits.ts';
import { parseMemoryEvents, readV2Statistics } from './v2-statistics.ts';
import { waitUntil } from './wait-until.ts';

const SIGKILL = 9;
const FREEZE_DEADLINE_MS = 10000;
const REMOVE_DEADLINE_MS = 2000;

export interface V2ManagerOptions {
  /** Absent where the user may not make cgroups and needs none. */
  readonly directory: string | undefined;
  readonly files: CgroupFiles;
  /** Go without a cgroup if the user may not make one and asks for no limits. */
  readonly isTolerant: boolean;
  /** Pid of a process that keeps a cgroup of systemd's until the container is in it. */
  readonly holder?: number;
}

/** A cgroup of version 2: one directory. */
export class V2CgroupManager implements CgroupManager {
  readonly layout = 'unified';
  readonly #files: CgroupFiles;
  readonly #isTolerant: boolean;
  readonly #holder: number | undefined;
  #directory: string | undefined;
  /** Directories that `create` made. */
  #made: readonly string[] = [];

  constructor({ directory, files, isTolerant, holder }: V2ManagerOptions) {
    this.#directory = directory;
    this.#files = files;
    this.#isTolerant = isTolerant;
    this.#holder = holder;
  }

  get paths(): Readonly<Record<string, string>> {
    return this.#directory === undefined ? {} : { '': this.#directory };
  }

  *create(resources: CgroupResources): Operation<void> {
    const directory = this.#directory;
    if (directory === undefined) return;
    const made: string[] = [];
    this.#made = made;
    try {
      const isNew = makeCgroup(this.#files, directory, made);
      if (!isNew) {
        refuseBusyCgroup(this.#files, directory, this.#holder);
        if (this.isFrozen()) this.thaw(); // left over from a container that was paused
      }
      enableControllers(this.#files, posix.dirname(directory));
      yield* this.#apply(directory, resources, { isNew });
    } catch (thrown) {
      const error = TsError.from(thrown);
      unmakeCgroups(this.#files, made, error);
      const isDenied = hasErrno(thrown, 'EACCES', 'EPERM', 'EROFS');
      if (!this.#isTolerant || !isDenied || asksForLimits(resources)) throw error;
      this.#directory = undefined;
    }
  }

  *undoCreate(deadlineMs?: number): Operation<void> {
    if (this.#holder !== undefined) return; // systemd's to remove, when the holder is out of it
    yield* this.remove(deadlineMs);
    removeUnused(this.#files, this.#made);
  }

  *update(resources: CgroupResources, options?: UpdateOptions): Operation<void> {
    const directory = this.#directory;
    if (directory !== undefined) yield* this.#apply(directory, resources, options);
  }

  *#apply(
    directory: string,
    resources: CgroupResources,
    { isNew = false, byChild }: UpdateOptions & { readonly isNew?: boolean } = {},
  ): Operation<void> {
    yield* setV2Limits(this.#files, directory, resources, { byChild });
    if (resources.devices === undefined) return;
    try {
      setV2Devices(directory, resources.devices, isNew);
    } catch (thrown) {
      // An unprivileged user may not load the filter, and has no access to devices to restrict.
      if (!this.#isTolerant || !hasErrno(thrown, 'EPERM')) throw thrown;
    }
  }

  *join(pid: number): Operation<void> {
    if (this.#directory !== undefined) yield* joinCgroup(this.#files, this.#directory, pid);
  }

  openForClone(): number | undefined {
    if (this.#directory === undefined) return undefined;
    try {
      return openSync(this.#directory, constants.O_RDONLY | constants.O_DIRECTORY);
    } catch (thrown) {
      throw TsError.from(thrown, `open cgroup ${this.#directory}`);
    }
  }

  exists(): boolean {
    return this.#directory !== undefined && this.#files.exists(this.#directory);
  }

  pids(): number[] {
    return this.#directory === undefined ? [] : cgroupPids(this.#files, this.#directory);
  }

  allPids(): number[] {
    return this.#directory === undefined ? [] : cgroupTreePids(this.#files, this.#directory);
  }

  #existing(operation: string): string {
    if (this.#directory !== undefined) return this.#directory;
    throw new TsError('FailedPrecondition', `${operation}: the container has no cgroup`, {
      code: 'TS_CGROUP_NONE',
      advice: 'have cgroups delegated to this user (systemd: Delegate=yes)',
    });
  }

  *freeze(deadlineMs = FREEZE_DEADLINE_MS): Operation<void> {
    const directory = this.#existing('freeze');
    refuseRootCgroup(this.#files, directory, 'freeze');
    this.#files.write(`${directory}/cgroup.freeze`, '1');
    const events = `${directory}/cgroup.events`;
    const isFrozen = yield* waitUntil(
      () => parseFlatKeyed(this.#files.read(events))['frozen'] === 1n,
      deadlineMs,
    );
    if (isFrozen) return;
    const error = new TsError(
      'DeadlineExceeded',
      `freeze ${directory}: some process does not stop within ${deadlineMs} ms`,
    );
    try {
      this.thaw();
    } catch (thrown) {
      error.cleanup.push(TsError.from(thrown));
    }
    throw error;
  }

  thaw(): void {
    this.#files.write(`${this.#existing('thaw')}/cgroup.freeze`, '0');
  }

  isFrozen(): boolean {
    if (this.#directory === undefined) return false;
    return this.#files.tryRead(`${this.#directory}/cgroup.freeze`) === '1';
  }

  *kill(): Operation<void> {
    const directory = this.#directory;
    if (directory === undefined || !this.#files.exists(directory)) return;
    refuseRootCgroup(this.#files, directory, 'kill the processes of');
    if (this.#files.exists(`${directory}/cgroup.kill`)) {
      this.#files.write(`${directory}/cgroup.kill`, '1'); // since Linux 5.14; frozen ones die too
      return;
    }
    yield* killProcesses(this);
  }

  *signal(signal: number): Operation<void> {
    if (this.#directory === undefined) return;
    refuseRootCgroup(this.#files, this.#directory, 'signal the processes of');
    if (signal === SIGKILL) yield* this.kill();
    else signalProcesses(this.allPids(), signal);
  }

  statistics(): CgroupStatistics {
    const directory = this.#existing('read statistics');
    return { version: 2, ...readV2Statistics(this.#files, directory) };
  }

  oomKills(): bigint {
    if (this.#directory === undefined) return 0n;
    const events = this.#files.tryRead(`${this.#directory}/memory.events`);
    return events === undefined ? 0n : parseMemoryEvents(events).oomKill;
  }

  watchOom(onOom: (kills: bigint) => void): Disposable {
    const directory = this.#directory;
    const isCounted = directory !== undefined && this.#files.exists(`${directory}/memory.events`);
    if (!isCounted) return { [Symbol.dispose]() {} };
    return watchV2Oom(directory, () => this.oomKills(), onOom);
  }

  *remove(deadlineMs = REMOVE_DEADLINE_MS): Operation<void> {
    if (this.#directory === undefined) return;
    yield* removeCgroup(this.#files, this.#directory, deadlineMs);
  }
}

/** Whether anything but device access is limited. */
function asksForLimits({ devices: _always, ...limits }: CgroupResources): boolean {
  return Object.values(limits).some(
    (limit) => limit !== undefined && Object.keys(limit).length > 0,
  );
}
