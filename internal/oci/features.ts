import type { HookPoint, StringMap } from './spec.ts';
import type { NamespaceType } from './spec-linux.ts';

/** What a runtime can do, as `features` prints it (runtime-spec features.md, features-linux.md). */
export interface Features {
  readonly ociVersionMin: string;
  readonly ociVersionMax: string;
  readonly hooks?: readonly HookPoint[];
  readonly mountOptions?: readonly string[];
  readonly linux?: LinuxFeatures;
  readonly annotations?: StringMap;
  readonly potentiallyUnsafeConfigAnnotations?: readonly string[];
}

export interface LinuxFeatures {
  readonly namespaces?: readonly NamespaceType[];
  readonly capabilities?: readonly string[];
  readonly cgroup?: {
    readonly v1?: boolean;
    readonly v2?: boolean;
    readonly systemd?: boolean;
    readonly systemdUser?: boolean;
    readonly rdma?: boolean;
  };
  readonly seccomp?: {
    readonly enabled?: boolean;
    readonly actions?: readonly string[];
    readonly operators?: readonly string[];
    readonly archs?: readonly string[];
    readonly knownFlags?: readonly string[];
    readonly supportedFlags?: readonly string[];
  };
  readonly apparmor?: { readonly enabled?: boolean };
  readonly selinux?: { readonly enabled?: boolean };
  readonly intelRdt?: {
    readonly enabled?: boolean;
    readonly schemata?: boolean;
    readonly monitoring?: boolean;
  };
  readonly mountExtensions?: { readonly idmap?: { readonly enabled?: boolean } };
  readonly netDevices?: { readonly enabled?: boolean };
  readonly memoryPolicy?: {
    readonly modes?: readonly string[];
    readonly flags?: readonly string[];
  };
}
