// A request to the CRI as a kubelet sends it, and the spec that comes of it: for tables of what each field does.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ContainerConfig,
  type LinuxContainerResources,
  type LinuxContainerSecurityContext,
  PodSandboxConfig,
} from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import type { Spec } from '../oci/index.ts';
import { type ContainerPlan, containerSpec } from './container-spec.ts';
import type { CriConfig, RuntimeHandlerConfig } from './cri-config.ts';
import type { CriHost } from './cri-host.ts';
import { sandboxSpec } from './sandbox-spec.ts';
import { NO_LABELS } from './selinux-labels.ts';

export const RUNTIME: RuntimeHandlerConfig = {
  type: 'io.containerd.tsrunc.v2',
  options: {},
  podAnnotations: [],
  containerAnnotations: [],
  privilegedWithoutHostDevices: false,
  privilegedAllowsAllDevices: false,
  isCgroupWritable: false,
  snapshotter: '',
  baseRuntimeSpec: '',
};
export const HOST: CriHost = {
  hostname: 'node',
  hasSwapController: true,
  hasHugetlbController: true,
  hasApparmor: false,
  capabilities: ['CAP_CHOWN', 'CAP_SYS_ADMIN', 'CAP_NET_ADMIN'],
  oomScoreAdj: -900,
  cgroupVersion: 2,
  cgroupMounts: [],
};
export const IMAGE = {
  user: '',
  env: ['A=image', 'B=image'],
  entrypoint: ['/entry'],
  cmd: ['default'],
  workingDir: '/work',
  stopSignal: '',
  volumes: [],
};

/** Files that a pod has, and a volume. Gone when the process ends. */
export const directory = mkdtempSync(join(tmpdir(), 'spec-'));
process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
for (const name of ['hostname', 'hosts', 'resolv.conf']) writeFileSync(join(directory, name), '');
for (const name of ['shm', 'volume', 'cdi']) mkdirSync(join(directory, name));
symlinkSync(join(directory, 'volume'), join(directory, 'link'));

/** Settings with containerd's defaults, and limits of huge pages. */
const settings = (): CriConfig => ({
  rootDir: directory,
  stateDir: directory,
  runtimes: new Map(),
  defaultRuntime: 'runc',
  snapshotter: 'overlayfs',
  sandboxImage: '',
  fallsBackToBuiltinPause: true,
  cni: { binDirs: [], confDir: '', maxConfNum: 1, ipPreference: 'ipv4' },
  maxContainerLogLineBytes: 16384,
  logFormat: 'cri',
  restrictsOomScoreAdj: false,
  enablesCheckpointImages: false,
  disablesCgroup: false,
  disablesApparmor: false,
  unsetSeccompProfile: '',
  toleratesMissingHugetlbController: true,
  enablesSelinux: false,
  disablesHugetlbController: false,
  disablesProcMount: false,
  ownsDevicesByUser: false,
  netnsUnderStateDir: false,
  selinuxCategoryRange: 1024,
  enablesUnprivilegedPorts: true,
  enablesUnprivilegedIcmp: true,
  ignoresImageDefinedVolumes: false,
  ignoresBlockioClasses: false,
  ignoresRdtClasses: false,
  drainExecSyncIoTimeoutMs: 0,
  enablesCdi: true,
  cdiSpecDirs: [join(directory, 'cdi')],
  statsCollectPeriodMs: 10_000,
  stream: {
    ...{ address: '', port: 0, idleTimeoutMs: 0 },
    tls: { isEnabled: false, certFile: '', keyFile: '' },
  },
});

export const env = (key: string, value: string) => ({ key, value: Buffer.from(value) });

export interface Given {
  readonly config?: Init<ContainerConfig>;
  readonly pod?: Init<PodSandboxConfig>;
  readonly runtime?: Partial<RuntimeHandlerConfig>;
  readonly settings?: Partial<CriConfig>;
  readonly host?: Partial<CriHost>;
  readonly plan?: Partial<ContainerPlan>;
}

const METADATA = { name: 'web', namespace: 'default', uid: 'u-1', attempt: 0 };
const podConfig = (change: Init<PodSandboxConfig> = {}): PodSandboxConfig =>
  PodSandboxConfig.decode(PodSandboxConfig.encode({ metadata: METADATA, ...change }));

/** The spec of a container that is asked for over the wire. */
export function translate({ config, pod, runtime, settings: more, host, plan }: Given): Spec {
  const sandboxConfig = podConfig(pod);
  return containerSpec(
    {
      id: 'container',
      // Over the wire, so that what is not given is as it comes from a kubelet.
      config: ContainerConfig.decode(
        ContainerConfig.encode({ metadata: { name: 'main', attempt: 0 }, ...config }),
      ),
      sandboxId: 'pod',
      sandboxConfig,
      runtimeName: 'tsrunc',
      runtime: { ...RUNTIME, ...runtime },
      isSystemdCgroup: false,
      namespaces: {
        pid: 42,
        network: '/run/netns/n',
        options: sandboxConfig.linux?.securityContext?.namespaceOptions,
      },
      targetPid: undefined,
      hostname: 'host',
      podFiles: {
        hostname: join(directory, 'hostname'),
        hosts: join(directory, 'hosts'),
        resolvConf: join(directory, 'resolv.conf'),
        shm: join(directory, 'shm'),
      },
      image: IMAGE,
      imageName: 'example.test/a:1',
      identity: { user: { uid: 7, gid: 8, additionalGids: [8, 9] }, home: '' },
      imageVolumes: [],
      selinux: NO_LABELS,
      ...plan,
    },
    { ...settings(), ...more },
    { ...HOST, ...host },
  );
}

export function translatePod(given: Given): Spec {
  return sandboxSpec(
    {
      id: 'pod',
      config: podConfig(given.pod),
      runtimeName: 'tsrunc',
      runtime: { ...RUNTIME, ...given.runtime },
      isSystemdCgroup: false,
      networkNamespace: '/run/netns/n',
      hostname: 'host',
      image: { ...IMAGE, entrypoint: ['/pause'], cmd: [] },
      imageName: 'pause',
      identity: { user: { uid: 65535, gid: 65535 }, home: '' },
      resolvConf: '/r',
      shm: '/s',
      selinux: given.plan?.selinux ?? NO_LABELS,
    },
    { ...settings(), ...given.settings },
    { ...HOST, ...given.host },
  );
}

/** The value at `process.env`, `linux.resources.cpu.shares`, … */
export function at(spec: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce((value, key) => (value as Record<string, unknown> | undefined)?.[key], spec);
}
export const mountAt = (spec: Spec, destination: string) =>
  spec.mounts?.filter((mount) => mount.destination === destination);

export const resources = (change: Init<LinuxContainerResources>): Given => ({
  config: { linux: { resources: change } },
});
export const security = (change: Init<LinuxContainerSecurityContext>): Given => ({
  config: { linux: { securityContext: change } },
});

export type Row = readonly [name: string, given: Given, path: string, expected: unknown];
