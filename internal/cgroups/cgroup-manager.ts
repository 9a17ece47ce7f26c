import type { Operation } from '../linux/index.ts';
import type { DeviceRule, LinuxResources } from '../oci/index.ts';
import type { CgroupStatistics } from './statistics.ts';

export interface UpdateOptions {
  readonly byChild?: boolean | undefined;
}

/**
 * A container's cgroup in every hierarchy of this machine: what the runtime and the shim need of
 * it, whatever the kernel's layout. What may have to wait is an operation.
 *
 * Errors name the file and the value: `write "max" to /sys/fs/cgroup/a/memory.max: EINVAL`.
 */
export interface CgroupManager {
  readonly layout: CgroupLayout;

  /**
   * Directory by controller (`memory`, `name=systemd`, …); the one of cgroup v2 has the key `''`.
   * What {@link openCgroup} takes to find the same cgroup again; goes into the state file.
   */
  readonly paths: Readonly<Record<string, string>>;

  /**
   * Makes the directories and sets the limits before any process is inside, so that nothing ever
   * runs without them. When it throws, every directory it made is gone again.
   *
   * Throws FailedPrecondition if processes are in the cgroup or a controller is missing that
   * `resources` needs, InvalidArgument if the kernel refuses a value.
   */
  create(resources: CgroupResources): Operation<void>;

  /**
   * Takes back what {@link create} made, parents included as far as nobody else uses them; for a
   * container whose creation fails later. Waits for processes as {@link remove} does.
   */
  undoCreate(deadlineMs?: number): Operation<void>;

  /**
   * Changes limits of an existing cgroup; properties that are absent stay as they are. The writer of a lower limit of
   * memory has to free the memory: with `byChild` a child does that, and the operation waits for it.
   */
  update(resources: CgroupResources, options?: UpdateOptions): Operation<void>;

  /**
   * Moves a process in. On cgroup v1 the first write waits for an RCU grace period (some 10 ms):
   * call it as soon as the pid is known and let the child work meanwhile.
   */
  join(pid: number): Operation<void>;

  /**
   * An open directory for clone3's CLONE_INTO_CGROUP, close-on-exec, owned by the caller; undefined
   * where that does not put a child into every hierarchy (v1, hybrid), so that join is needed.
   */
  openForClone(): number | undefined;

  /** Whether the cgroup is there. */
  exists(): boolean;

  /** Processes of this cgroup alone. */
  pids(): number[];

  /** Processes of this cgroup and all below. */
  allPids(): number[];

  /** Stops all processes; returns when they stand still or throws DeadlineExceeded, thawed again. */
  freeze(deadlineMs?: number): Operation<void>;

  thaw(): void;

  isFrozen(): boolean;

  /**
   * Sends SIGKILL to every process in and below the cgroup, those included that are forked
   * meanwhile. Frozen cgroups are thawed. Processes may still be dying when it returns.
   */
  kill(): Operation<void>;

  /** Sends `signal` to every process in and below the cgroup. */
  signal(signal: number): Operation<void>;

  statistics(): CgroupStatistics;

  /** Processes that the kernel killed for want of memory, in and below the cgroup, so far. */
  oomKills(): bigint;

  /**
   * Calls `onOom` after the kernel killed a process for want of memory, with the number so far;
   * disposing ends it.
   */
  watchOom(onOom: (kills: bigint) => void): Disposable;

  /**
   * Removes the cgroup and what is below it, waiting while processes are dying. No error if it is
   * gone. Throws FailedPrecondition naming the leftover directory and the processes in it.
   */
  remove(deadlineMs?: number): Operation<void>;
}

/** unified: cgroup v2 alone; legacy: v1 alone; hybrid: v1 controllers and an empty v2 tree. */
export type CgroupLayout = 'unified' | 'legacy' | 'hybrid';

/** The limits of a container, and whether its devices are restricted. */
export interface CgroupResources extends Omit<LinuxResources, 'devices'> {
  /**
   * Rules in order, the last that matches decides; what no rule names is denied. Absent leaves
   * devices alone. See `containerDeviceRules` for what a container gets.
   */
  readonly devices?: readonly DeviceRule[];
}

/** Which cgroup a container gets. */
export interface CgroupOptions {
  /** The container's id: the name of the cgroup when `cgroupsPath` is absent. */
  readonly id: string;
  /**
   * `linux.cgroupsPath`: absolute from the hierarchy's root, relative below the caller's own cgroup
   * (on v2 beside it, since a cgroup with processes cannot give controllers to others).
   */
  readonly cgroupsPath?: string;
  /** Tolerate that cgroups cannot be made, as long as no limit is asked for. */
  readonly rootless?: boolean;
}
