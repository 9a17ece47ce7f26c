import type { StringMap } from './spec.ts';

/**
 * `linux.resources` of config.json (runtime-spec config-linux.md#control-groups); also the document
 * that `update --resources` reads.
 */
export interface LinuxResources {
  readonly devices?: readonly DeviceRule[];
  readonly memory?: MemoryResources;
  readonly cpu?: CpuResources;
  readonly pids?: PidsResources;
  readonly blockIO?: BlockIoResources;
  readonly hugepageLimits?: readonly HugepageLimit[];
  readonly network?: NetworkResources;
  readonly rdma?: Readonly<Record<string, RdmaLimit>>;
  /** File name to content, cgroup v2 only. */
  readonly unified?: StringMap;
}

/** Whether a device may be used; absent parts mean all. */
export interface DeviceRule {
  readonly allow: boolean;
  /** a both, c character, b block. */
  readonly type?: 'a' | 'c' | 'b';
  readonly major?: number;
  readonly minor?: number;
  /** Of r, w and m (mknod). */
  readonly access?: string;
}

/** Bytes; -1 is unlimited. */
export interface MemoryResources {
  readonly limit?: bigint;
  readonly reservation?: bigint;
  /** Memory and swap together. */
  readonly swap?: bigint;
  readonly kernel?: bigint;
  readonly kernelTCP?: bigint;
  /** 0 to 100. */
  readonly swappiness?: bigint;
  readonly disableOOMKiller?: boolean;
  readonly useHierarchy?: boolean;
  /** Refuse a limit that is below what is in use. */
  readonly checkBeforeUpdate?: boolean;
}

/** Times are microseconds. */
export interface CpuResources {
  readonly shares?: bigint;
  readonly quota?: bigint;
  readonly burst?: bigint;
  readonly period?: bigint;
  readonly realtimeRuntime?: bigint;
  readonly realtimePeriod?: bigint;
  readonly cpus?: string;
  readonly mems?: string;
  /** 1 for SCHED_IDLE, 0 for the usual class. */
  readonly idle?: number;
}

export interface PidsResources {
  /** -1 is unlimited. */
  readonly limit?: bigint;
}

export interface BlockIoResources {
  /** 10 to 1000. */
  readonly weight?: number;
  readonly leafWeight?: number;
  readonly weightDevice?: readonly WeightDevice[];
  readonly throttleReadBpsDevice?: readonly ThrottleDevice[];
  readonly throttleWriteBpsDevice?: readonly ThrottleDevice[];
  readonly throttleReadIOPSDevice?: readonly ThrottleDevice[];
  readonly throttleWriteIOPSDevice?: readonly ThrottleDevice[];
}

export interface WeightDevice {
  readonly major: number;
  readonly minor: number;
  readonly weight?: number;
  readonly leafWeight?: number;
}

/** Bytes or operations a second; 0 removes the limit. */
export interface ThrottleDevice {
  readonly major: number;
  readonly minor: number;
  readonly rate: bigint;
}

export interface HugepageLimit {
  /** `2MB`, `1GB` and so on. */
  readonly pageSize: string;
  /** Bytes. */
  readonly limit: bigint;
}

export interface NetworkResources {
  readonly classID?: number;
  readonly priorities?: readonly InterfacePriority[];
}

export interface InterfacePriority {
  readonly name: string;
  readonly priority: number;
}

export interface RdmaLimit {
  readonly hcaHandles?: number;
  readonly hcaObjects?: number;
}
