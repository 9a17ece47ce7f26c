// What becomes of each property of config.json (test/wire/oci-runtime-spec.json), and which tests show it. A property
// that is not named here has what the nearest one above it has: `process.user` is for `process.user.uid` as well.

/** What tsrunc does with a property. */
export interface Treatment {
  /**
   * applied: it has the effect that the specification gives it, or the container is refused with an error that
   * names it. ignored: of another platform, which the specification lets a runtime ignore.
   */
  readonly is: 'applied' | 'refused' | 'ignored';
  /** Test files that show it. */
  readonly shownBy: readonly string[];
  /** A word that the tests say where a property's own name does not stand in them. */
  readonly as?: string;
  /** What cannot be tested on every machine, and why. */
  readonly note?: string;
}

const integration = (...names: string[]) => names.map((name) => `test/integration/${name}.test.ts`);
const applied = (names: string[], more: Partial<Treatment> = {}): Treatment => {
  return { is: 'applied', shownBy: integration(...names), ...more };
};
const BAD_INPUT = 'test/faults/runtime-properties.test.ts';
const PARSED = 'internal/oci/parse-spec.test.ts';

/** By property path. */
export const PROPERTIES: Readonly<Record<string, Treatment>> = {
  ociVersion: { is: 'applied', shownBy: [PARSED, BAD_INPUT] },
  hooks: applied(['runtime-hooks']),
  'hooks.prestart[].path': applied(['runtime-hooks']),
  annotations: applied(['runtime-hooks', 'runtime-seccomp-notify']),
  hostname: applied(['runtime-process']),
  domainname: applied(['runtime-process']),
  mounts: applied(['runtime-mounts', 'runtime-copy-up']),
  'mounts[].uidMappings': applied(['runtime-mounts']),
  'mounts[].gidMappings': applied(['runtime-mounts']),
  root: applied(['runtime-mounts']),
  'root.path': applied(['runtime-bad-input']),
  process: applied(['runtime-process', 'runtime-bad-input']),
  'process.args': applied(['runtime-process']),
  'process.commandLine': { is: 'ignored', shownBy: [PARSED] },
  'process.consoleSize': applied(['runtime-terminal']),
  'process.cwd': applied(['runtime-process']),
  'process.env': applied(['runtime-process']),
  'process.terminal': applied(['runtime-terminal']),
  'process.user': applied(['runtime-process']),
  'process.user.username': { is: 'ignored', shownBy: [PARSED] },
  'process.capabilities': applied(['runtime-process']),
  'process.apparmorProfile': {
    is: 'applied',
    shownBy: [BAD_INPUT, 'test/vm/apparmor.test.ts'],
    note: 'applied in make test-vm, whose machine has AppArmor; where it is absent it is refused',
  },
  'process.oomScoreAdj': applied(['runtime-process']),
  'process.selinuxLabel': {
    is: 'applied',
    shownBy: [BAD_INPUT],
    note: 'no machine of the tests has SELinux: shown is the refusal where it is absent',
  },
  'process.ioPriority': applied(['runtime-process']),
  'process.noNewPrivileges': applied(['runtime-process']),
  'process.scheduler': applied(['runtime-process']),
  'process.rlimits': applied(['runtime-process']),
  'process.execCPUAffinity': applied(['runtime-exec']),
  linux: applied(['runtime-namespaces', 'runtime-process']),
  'linux.devices': applied(['runtime-process']),
  'linux.netDevices': applied(['runtime-net-devices']),
  'linux.uidMappings': applied(['runtime-namespaces']),
  'linux.gidMappings': applied(['runtime-namespaces']),
  'linux.namespaces': applied(['runtime-namespaces']),
  'linux.resources': applied(['runtime-limits'], {
    shownBy: ['internal/cgroups/limits.test.ts', ...integration('cgroups', 'runtime-limits')],
    as: 'resources',
  }),
  'linux.cgroupsPath': applied(['runtime-limits']),
  'linux.rootfsPropagation': applied(['runtime-mounts']),
  'linux.seccomp': {
    is: 'applied',
    shownBy: ['internal/runtime/seccomp-filter.test.ts', ...integration('runtime-process')],
    as: 'seccomp',
  },
  'linux.seccomp.listenerPath': applied(['runtime-seccomp-notify']),
  'linux.seccomp.listenerMetadata': applied(['runtime-seccomp-notify']),
  'linux.sysctl': applied(['runtime-process']),
  'linux.maskedPaths': applied(['runtime-mounts']),
  'linux.readonlyPaths': applied(['runtime-mounts']),
  'linux.mountLabel': {
    is: 'applied',
    shownBy: [BAD_INPUT],
    note: 'no machine of the tests has SELinux: shown is the refusal where it is absent',
  },
  'linux.intelRdt': {
    is: 'applied',
    shownBy: ['internal/cgroups/resctrl.test.ts', ...integration('runtime-resctrl')],
    note: 'no machine of the tests has a CPU for it: shown with a resctrl in memory, and by the refusal where it is absent',
  },
  'linux.memoryPolicy': applied(['runtime-process']),
  'linux.personality': applied(['runtime-process']),
  'linux.timeOffsets': applied(['runtime-namespaces']),
  solaris: { is: 'ignored', shownBy: [PARSED] },
  windows: { is: 'ignored', shownBy: [PARSED] },
  vm: { is: 'ignored', shownBy: [PARSED] },
  zos: { is: 'ignored', shownBy: [PARSED] },
  freebsd: { is: 'ignored', shownBy: [PARSED] },
};
