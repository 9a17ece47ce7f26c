import type { Mount, Spec } from './spec.ts';
import type { Namespace } from './spec-linux.ts';

/** The newest version of the runtime spec whose properties this project knows. */
export const OCI_VERSION = '1.3.0';

const CAPABILITIES = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'];

/** Files of /proc and /sys that tell or change too much about the host. */
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
  '/proc/scsi',
];

const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

/**
 * The configuration that `spec` writes: a shell on a terminal, in a read-only `rootfs` and namespaces
 * of its own. `hasCgroupV2` adds a cgroup namespace; on cgroup v1 one would hide the mounts' roots.
 */
export function defaultSpec(hasCgroupV2: boolean): Spec {
  const namespaces: Namespace[] = [
    { type: 'pid' },
    { type: 'network' },
    { type: 'ipc' },
    { type: 'uts' },
    { type: 'mount' },
  ];
  if (hasCgroupV2) namespaces.push({ type: 'cgroup' });
  return {
    ociVersion: OCI_VERSION,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args: ['sh'],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
      cwd: '/',
      capabilities: {
        bounding: CAPABILITIES,
        effective: CAPABILITIES,
        permitted: CAPABILITIES,
      },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024n, soft: 1024n }],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    hostname: 'tsrunc',
    mounts: defaultMounts(),
    linux: {
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      namespaces,
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READONLY_PATHS,
    },
  };
}

function defaultMounts(): Mount[] {
  return [
    { destination: '/proc', type: 'proc', source: 'proc' },
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
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
    },
  ];
}

/**
 * The configuration of `spec --rootless`: what an unprivileged user with these ids may do. The user
 * is root of a new user namespace and shares the network; /sys is the host's, read-only, as only
 * the owner of a network namespace may mount a new one.
 */
export function rootlessSpec(uid: number, gid: number, hasCgroupV2: boolean): Spec {
  const { linux, mounts, ...rest } = defaultSpec(hasCgroupV2);
  const namespaces = (linux?.namespaces ?? []).filter(({ type }) => type !== 'network');
  const { resources: _limitsNeedCgroups, ...unlimited } = linux ?? {};
  return {
    ...rest,
    mounts: (mounts ?? []).map((mount) =>
      mount.destination === '/sys' ? HOST_SYS : withoutIds(mount),
    ),
    linux: {
      ...unlimited,
      namespaces: [...namespaces, { type: 'user' }],
      uidMappings: [{ containerID: 0, hostID: uid, size: 1 }],
      gidMappings: [{ containerID: 0, hostID: gid, size: 1 }],
    },
  };
}

const HOST_SYS: Mount = {
  destination: '/sys',
  type: 'none',
  source: '/sys',
  options: ['rbind', 'nosuid', 'noexec', 'nodev', 'ro'],
};

/** Only one id is mapped: a mount for another, such as gid 5 of devpts, would be refused. */
function withoutIds(mount: Mount): Mount {
  if (mount.options === undefined) return mount;
  return { ...mount, options: mount.options.filter((option) => !/^[ug]id=/.test(option)) };
}
