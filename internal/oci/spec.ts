import type { Linux } from './spec-linux.ts';

/**
 * config.json (runtime-spec config.md), the parts that are not Linux's alone.
 *
 * Integers that the spec gives 64 bits are bigints when they are limits or counts that may exceed
 * 2^53; everything else is a number. Maps have no prototype: a key `__proto__` is only a key.
 */
export interface Spec {
  readonly ociVersion: string;
  readonly root: Root;
  readonly process: Process;
  readonly hostname?: string;
  readonly domainname?: string;
  readonly mounts?: readonly Mount[];
  readonly hooks?: Hooks;
  readonly annotations?: StringMap;
  readonly linux?: Linux;
}

/** A JSON object used as a map; it has no prototype. */
export type StringMap = Readonly<Record<string, string>>;

/** config.md#root */
export interface Root {
  readonly path: string;
  readonly readonly?: boolean;
}

/** config.md#process; also the document that `exec --process` reads. */
export interface Process {
  readonly terminal?: boolean;
  readonly consoleSize?: ConsoleSize;
  readonly user: User;
  readonly args: readonly string[];
  /** `NAME=value` each. */
  readonly env?: readonly string[];
  /** Absolute path inside the container. */
  readonly cwd: string;
  readonly capabilities?: Capabilities;
  readonly rlimits?: readonly Rlimit[];
  readonly noNewPrivileges?: boolean;
  readonly apparmorProfile?: string;
  readonly oomScoreAdj?: number;
  readonly scheduler?: Scheduler;
  readonly selinuxLabel?: string;
  readonly ioPriority?: IoPriority;
  readonly execCPUAffinity?: CpuAffinity;
}

/** Characters of a terminal. */
export interface ConsoleSize {
  readonly height: number;
  readonly width: number;
}

/** config.md#posix-platform-user */
export interface User {
  readonly uid: number;
  readonly gid: number;
  readonly umask?: number;
  readonly additionalGids?: readonly number[];
}

/** The five sets of capabilities(7), each of names like `CAP_CHOWN`. */
export interface Capabilities {
  readonly bounding?: readonly string[];
  readonly effective?: readonly string[];
  readonly inheritable?: readonly string[];
  readonly permitted?: readonly string[];
  readonly ambient?: readonly string[];
}

/** setrlimit(2); 2^64-1 is unlimited. */
export interface Rlimit {
  /** `RLIMIT_NOFILE` and so on. */
  readonly type: string;
  readonly hard: bigint;
  readonly soft: bigint;
}

/** sched_setattr(2). Times are nanoseconds. */
export interface Scheduler {
  readonly policy: string;
  readonly nice?: number;
  readonly priority?: number;
  readonly flags?: readonly string[];
  readonly runtime?: bigint;
  readonly deadline?: bigint;
  readonly period?: bigint;
}

/** ioprio_set(2) */
export interface IoPriority {
  readonly class: string;
  readonly priority: number;
}

/** CPU lists such as `0-3,7`: before and after the process enters the container's cgroup. */
export interface CpuAffinity {
  readonly initial?: string;
  readonly final?: string;
}

/** config.md#mounts, config-linux.md */
export interface Mount {
  readonly destination: string;
  readonly type?: string;
  readonly source?: string;
  readonly options?: readonly string[];
  readonly uidMappings?: readonly IdMapping[];
  readonly gidMappings?: readonly IdMapping[];
}

/** A range of ids: `size` of them from `containerID` inside are `hostID` and up outside. */
export interface IdMapping {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

/** The hook points, in the order in which they come in a container's life (config.md#posix-platform-hooks). */
export const HOOK_POINTS = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const;

export type HookPoint = (typeof HOOK_POINTS)[number];

export type Hooks = { readonly [point in HookPoint]?: readonly Hook[] };

/** A program to run at a hook point, with the container's state on its stdin. */
export interface Hook {
  /** Absolute path. */
  readonly path: string;
  /** argv, argv[0] included; `[path]` when absent. */
  readonly args?: readonly string[];
  readonly env?: readonly string[];
  /** Seconds, at least 1. */
  readonly timeout?: number;
}
