import type { DeviceRule, Mount, Namespace, Spec } from '../oci/index.ts';

/** Nothing newer is used, and a runtime may refuse a version that it does not know. */
const SPEC_VERSION = '1.2.1';

/** What every container may do: Docker's set, and containerd's. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

const MOUNTS: readonly Mount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
  {
    destination: '/dev/mqueue',
    type: 'mqueue',
    source: 'mqueue',
    options: ['nosuid', 'noexec', 'nodev'],
  },
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

const MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
  '/proc/scsi',
];

const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

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
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  };
}
