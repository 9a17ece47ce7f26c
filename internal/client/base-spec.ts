import {
  DEFAULT_CAPABILITIES,
  DEFAULT_DEV_MOUNTS,
  DEFAULT_MASKED_PATHS,
  DEFAULT_MQUEUE_MOUNT,
  DEFAULT_PROC_MOUNT,
  DEFAULT_READONLY_PATHS,
  type DeviceRule,
  type Mount,
  type Namespace,
  type Spec,
} from '../oci/index.ts';

/** Nothing newer is used, and a runtime may refuse a version that it does not know. */
const SPEC_VERSION = '1.2.1';

const MOUNTS: readonly Mount[] = [
  DEFAULT_PROC_MOUNT,
  ...DEFAULT_DEV_MOUNTS,
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
  DEFAULT_MQUEUE_MOUNT,
  {
    destination: '/sys',
    type: 'sysfs',
    source: 'sysfs',
    options: ['nosuid', 'noexec', 'nodev', 'ro'],
  },
  {
    destination: '/run',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
];

const NAMESPACES: readonly Namespace[] = [
  { type: 'pid' },
  { type: 'ipc' },
  { type: 'uts' },
  { type: 'mount' },
  { type: 'network' },
];

/** null, random, full, tty, zero, urandom, console, all of pts, ptmx: by major and minor number. */
const USUAL_DEVICES: readonly (readonly [major: number, minor?: number])[] = [
  [1, 3],
  [1, 8],
  [1, 7],
  [5, 0],
  [1, 5],
  [1, 9],
  [5, 1],
  [136],
  [5, 2],
];

/** The rules of devices: nothing but the usual ones. */
export function usualDeviceRules(): DeviceRule[] {
  return [
    { allow: false, access: 'rwm' },
    ...USUAL_DEVICES.map(([major, minor]): DeviceRule => {
      const base = { allow: true, type: 'c', major, access: 'rwm' } as const;
      return minor === undefined ? base : { ...base, minor };
    }),
  ];
}

/** The configuration of a container of which nothing is said, as containerd's clients have it (pkg/oci). */
export function baseSpec(namespace: string, id: string): Spec {
  const capabilities = DEFAULT_CAPABILITIES;
  return {
    ociVersion: SPEC_VERSION,
    process: {
      user: { uid: 0, gid: 0 },
      args: [],
      env: [],
      cwd: '/',
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024n, soft: 1024n }],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs' },
    mounts: MOUNTS,
    linux: {
      resources: { devices: usualDeviceRules() },
      cgroupsPath: `/${namespace}/${id}`,
      namespaces: NAMESPACES,
      maskedPaths: DEFAULT_MASKED_PATHS,
      readonlyPaths: DEFAULT_READONLY_PATHS,
    },
  };
}
