import type { StreamTlsConfig } from '../streaming/stream-certificate.ts';

/**
 * Settings of the CRI, with containerd's names, defaults and meanings (plugins `io.containerd.cri.v1.runtime` and
 * `io.containerd.cri.v1.images`), where this project does not say otherwise.
 */
export interface CriConfig {
  /** Persistent files of pods: hosts, resolv.conf. Below the daemon's root. */
  readonly rootDir: string;
  /** Files that live as long as the machine is up: shm, stdin FIFOs. Below the daemon's state directory. */
  readonly stateDir: string;
  readonly runtimes: ReadonlyMap<string, RuntimeHandlerConfig>;
  readonly defaultRuntime: string;
  readonly snapshotter: string;
  /** The pause image; '' is the built-in pause. */
  readonly sandboxImage: string;
  /** Use the built-in pause when the sandbox image is not there and cannot be pulled. */
  readonly fallsBackToBuiltinPause: boolean;
  readonly cni: CniConfig;
  /** Bytes of one log line; longer ones are cut into partial ones. */
  readonly maxContainerLogLineBytes: number;
  readonly logFormat: 'cri' | 'json';
  /** Raise a negative oom_score_adj to the daemon's own, for a daemon that may not lower it. */
  readonly restrictsOomScoreAdj: boolean;
  readonly disablesCgroup: boolean;
  readonly disablesApparmor: boolean;
  readonly unsetSeccompProfile: string;
  readonly toleratesMissingHugetlbController: boolean;
  /** Label pods and containers, where the machine has SELinux. */
  readonly enablesSelinux: boolean;
  /** How many categories there are to choose a pod's two from. */
  readonly selinuxCategoryRange: number;
  /** No limits of huge pages for containers: the kubelet limits the pod. */
  readonly disablesHugetlbController: boolean;
  /** Masked and read-only paths of requests do not count: every container has the default ones. */
  readonly disablesProcMount: boolean;
  /** Devices belong to the user of the container instead of to the host's owner. */
  readonly ownsDevicesByUser: boolean;
  /** Network namespaces are files below the state directory instead of in /run/netns. */
  readonly netnsUnderStateDir: boolean;
  readonly enablesUnprivilegedPorts: boolean;
  readonly enablesUnprivilegedIcmp: boolean;
  readonly ignoresImageDefinedVolumes: boolean;
  /** A class of block I/O, or of RDT, that a pod asks for does not count; else it is refused: there are none. */
  readonly ignoresBlockioClasses: boolean;
  readonly ignoresRdtClasses: boolean;
  readonly drainExecSyncIoTimeoutMs: number;
  /** Images that are checkpoints are restored: CRIU trusts what is in them, and so must whoever sets it. */
  readonly enablesCheckpointImages: boolean;
  readonly enablesCdi: boolean;
  /** Later ones win. */
  readonly cdiSpecDirs: readonly string[];
  /** How old a figure of what a writable layer takes may be. */
  readonly statsCollectPeriodMs: number;
  readonly stream: StreamConfig;
}

export interface RuntimeHandlerConfig {
  /** `io.containerd.tsrunc.v2`, or the absolute path of a shim. */
  readonly type: string;
  /** Options table, as written; packed for the runtime's type. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Globs of annotations that pods and containers may hand to the runtime. */
  readonly podAnnotations: readonly string[];
  readonly containerAnnotations: readonly string[];
  readonly privilegedWithoutHostDevices: boolean;
  /** A privileged container without the host's devices may use every one that it makes itself. */
  readonly privilegedAllowsAllDevices: boolean;
  /** Containers may make cgroups of their own (cgroup v2 alone can limit them to their part). */
  readonly isCgroupWritable: boolean;
  readonly snapshotter: string;
  /** File with an OCI spec to start from instead of the default. */
  readonly baseRuntimeSpec: string;
  /** The networks of its pods, when they are not those of all others. */
  readonly networks?: NetworkDirectory;
}

export interface NetworkDirectory {
  readonly confDir: string;
  /** How many networks of the directory are used; 0 for all. */
  readonly maxConfNum: number;
}

export interface CniConfig extends NetworkDirectory {
  readonly binDirs: readonly string[];
  /** Which address of a pod is told as its own: the first of this kind, or the first that its plugins name. */
  readonly ipPreference: 'ipv4' | 'ipv6' | 'cni';
}

export interface StreamConfig {
  readonly address: string;
  readonly port: number;
  readonly idleTimeoutMs: number;
  readonly tls: StreamTlsConfig;
}
