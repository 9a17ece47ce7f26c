import { TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';
import type { CgroupFiles } from './cgroup-files.ts';
import type { CgroupManager, CgroupResources, UpdateOptions } from './cgroup-manager.ts';
import {
  cgroupPids,
  cgroupTreePids,
  hasErrno,
  isRootCgroup,
  joinCgroup,
  makeCgroup,
  refuseBusyCgroup,
  refuseRootCgroup,
  removeCgroup,
  removeUnused,
  signalProcesses,
  unmakeCgroups,
} from './cgroup-tree.ts';
import { processDirectory } from './idle-cgroup.ts';
import { killProcesses } from './kill-processes.ts';
import { watchV1Oom } from './oom-watch.ts';
import type { CgroupStatistics } from './statistics.ts';
import { inheritCpuset, setV1Limits } from './v1-limits.ts';
import { parseOomControl, readV1Statistics } from './v1-statistics.ts';
import { monotonicMs, waitUntil } from './wait-until.ts';

const SIGKILL = 9;
const FREEZE_DEADLINE_MS = 10000;
const REMOVE_DEADLINE_MS = 2000;

export interface V1ManagerOptions {
  /** Directories by controller; `''` is the v2 tree of a hybrid layout. */
  readonly paths: Readonly<Record<string, string>>;
  readonly files: CgroupFiles;
  /** Leave out hierarchies in which the user may not make cgroups. */
  readonly isTolerant: boolean;
  /** Pid of a process that keeps a cgroup of systemd's until the container is in it. */
  readonly holder?: number;
}

/** A cgroup of version 1: the same path in several hierarchies, in hybrid layouts in v2's too. */
export class V1CgroupManager implements CgroupManager {
  readonly layout: 'legacy' | 'hybrid';
  readonly #files: CgroupFiles;
  readonly #isTolerant: boolean;
  readonly #holder: number | undefined;
  #paths: Readonly<Record<string, string>>;
  /** Directories that `create` made. */
  #made: readonly string[] = [];

  constructor({ paths, files, isTolerant, holder }: V1ManagerOptions) {
    this.layout = '' in paths ? 'hybrid' : 'legacy';
    this.#paths = paths;
    this.#files = files;
    this.#isTolerant = isTolerant;
    this.#holder = holder;
  }

  get paths(): Readonly<Record<string, string>> {
    return this.#paths;
  }

  /** Controllers that are mounted together share a directory. */
  #directories(): Set<string> {
    return new Set(Object.values(this.#paths));
  }

  *create(resources: CgroupResources): Operation<void> {
    const made: string[] = [];
    this.#made = made;
    try {
      for (const directory of this.#directories()) {
        if (!this.#make(directory, made)) refuseBusyCgroup(this.#files, directory, this.#holder);
      }
      if (this.isFrozen()) this.thaw(); // left over from a container that was paused
      const cpuset = this.#paths['cpuset'];
      if (cpuset !== undefined) inheritCpuset(this.#files, cpuset);
      yield* this.update(resources);
    } catch (thrown) {
      const error = TsError.from(thrown);
      unmakeCgroups(this.#files, made, error);
      throw error;
    }
  }

  *undoCreate(deadlineMs?: number): Operation<void> {
    if (this.#holder !== undefined) return; // systemd's to remove, when the holder is out of it
    yield* this.remove(deadlineMs);
    removeUnused(this.#files, this.#made);
  }

  /** False if the directory was there. Without permission the hierarchy is left out, if allowed. */
  #make(directory: string, made: string[]): boolean {
    try {
      return makeCgroup(this.#files, directory, made);
    } catch (thrown) {
      if (!this.#isTolerant || !hasErrno(thrown, 'EACCES', 'EPERM', 'EROFS')) throw thrown;
      const others = Object.entries(this.#paths).filter(([, path]) => path !== directory);
      this.#paths = Object.fromEntries(others);
      return true;
    }
  }

  *update(resources: CgroupResources, options?: UpdateOptions): Operation<void> {
    const { devices, ...others } = resources;
    const canSetDevices = this.#paths['devices'] !== undefined || !this.#isTolerant;
    const settable = canSetDevices && devices !== undefined ? resources : others;
    yield* setV1Limits(this.#files, this.#paths, settable, options);
  }

  *join(pid: number): Operation<void> {
    for (const directory of this.#directories()) yield* joinCgroup(this.#files, directory, pid);
  }

  openForClone(): undefined {
    return undefined;
  }

  exists(): boolean {
    return [...this.#directories()].some((directory) => this.#files.exists(directory));
  }

  pids(): number[] {
    const directory = processDirectory(this.#paths);
    return directory === undefined ? [] : cgroupPids(this.#files, directory);
  }

  allPids(): number[] {
    const directory = processDirectory(this.#paths);
    return directory === undefined ? [] : cgroupTreePids(this.#files, directory);
  }

  #freezerFile(): string {
    const freezer = this.#paths['freezer'];
    if (freezer !== undefined) return `${freezer}/freezer.state`;
    throw new TsError(
      'FailedPrecondition',
      'freeze: no hierarchy of the cgroup controller freezer is mounted',
      {
        code: 'TS_CGROUP_NO_CONTROLLER',
        advice: 'mount it: mount -t cgroup -o freezer cgroup DIRECTORY',
      },
    );
  }

  #refuseRoot(operation: string): void {
    for (const directory of this.#directories()) {
      refuseRootCgroup(this.#files, directory, operation);
    }
  }

  *freeze(deadlineMs = FREEZE_DEADLINE_MS): Operation<void> {
    this.#refuseRoot('freeze');
    const file = this.#freezerFile();
    // A process that is being cloned or traced can keep the state at FREEZING: asking again helps.
    const isFrozen = yield* waitUntil(() => {
      this.#files.write(file, 'FROZEN');
      return this.#files.read(file) === 'FROZEN';
    }, deadlineMs);
    if (isFrozen) return;
    const error = new TsError(
      'DeadlineExceeded',
      `freeze ${file}: some process does not stop within ${deadlineMs} ms`,
    );
    try {
      this.thaw();
    } catch (thrown) {
      error.cleanup.push(TsError.from(thrown));
    }
    throw error;
  }

  thaw(): void {
    this.#files.write(this.#freezerFile(), 'THAWED');
  }

  isFrozen(): boolean {
    const freezer = this.#paths['freezer'];
    const state = freezer && this.#files.tryRead(`${freezer}/freezer.state`);
    return state === 'FROZEN' || state === 'FREEZING';
  }

  *kill(): Operation<void> {
    this.#refuseRoot('kill the processes of');
    const unified = this.#paths[''];
    const killFile = unified === undefined ? undefined : `${unified}/cgroup.kill`;
    if (killFile !== undefined && this.#files.exists(killFile)) this.#files.write(killFile, '1');
    // Also what has left the v2 tree, and what is frozen by the v1 freezer and so cannot die.
    yield* killProcesses(this);
  }

  *signal(signal: number): Operation<void> {
    this.#refuseRoot('signal the processes of');
    if (signal === SIGKILL) yield* this.kill();
    else signalProcesses(this.allPids(), signal);
  }

  statistics(): CgroupStatistics {
    return { version: 1, ...readV1Statistics(this.#files, this.#paths) };
  }

  /** Where kills are counted for this container alone; at the root they are the machine's. */
  #countedMemory(): string | undefined {
    const memory = this.#paths['memory'];
    return memory === undefined || isRootCgroup(this.#files, memory) ? undefined : memory;
  }

  oomKills(): bigint {
    const memory = this.#countedMemory();
    const text = memory && this.#files.tryRead(`${memory}/memory.oom_control`);
    return text === undefined ? 0n : parseOomControl(text).oomKill;
  }

  watchOom(onOom: (kills: bigint) => void): Disposable {
    const memory = this.#countedMemory();
    if (memory === undefined) return { [Symbol.dispose]() {} };
    return watchV1Oom(memory, () => this.oomKills(), onOom);
  }

  *remove(deadlineMs = REMOVE_DEADLINE_MS): Operation<void> {
    const end = monotonicMs() + deadlineMs;
    let first: TsError | undefined;
    for (const directory of this.#directories()) {
      try {
        yield* removeCgroup(this.#files, directory, end - monotonicMs());
      } catch (thrown) {
        const error = TsError.from(thrown);
        if (first === undefined) first = error;
        else first.cleanup.push(error);
      }
    }
    if (first !== undefined) throw first;
  }
}
