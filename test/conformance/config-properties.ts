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
  /** Files in which its effect is compared with that under runc, or crun, in one go. */
  readonly beside?: readonly string[];
  /** Why it is not compared. */
  readonly alone?: string;
}

const integration = (...names: string[]) => names.map((name) => `test/integration/${name}.test.ts`);
/** Unless it is said otherwise its effect is seen by twins: test/conformance/runtime-twins.test.ts makes them. */
const applied = (names: string[], more: Partial<Treatment> = {}): Treatment => {
  const compared = more.alone === undefined ? { beside: [BUNDLES] } : {};
  return { is: 'applied', shownBy: integration(...names), ...compared, ...more };
};
const BUNDLES = 'test/fixtures/twin-bundles.ts';
const TWINS = 'test/conformance/runtime-twins.test.ts';
/** The profile of the twins with an agent, in runtime-twins.test.ts. */
const AGENT = 'test/fixtures/seccomp-agent.ts';
const EFFECTS = 'test/conformance/effect-twins.test.ts';
const NO_SELINUX = 'no machine of the tests has SELinux';
const BAD_INPUT = 'test/faults/runtime-properties.test.ts';
const PARSED = 'internal/oci/parse-spec.test.ts';

/** By property path. */
export const PROPERTIES: Readonly<Record<string, Treatment>> = {
  ociVersion: { is: 'applied', shownBy: [PARSED, BAD_INPUT], alone: 'of the document itself' },
  hooks: applied(['runtime-hooks'], { beside: [EFFECTS] }),
  'hooks.prestart[].path': applied(['runtime-hooks'], { beside: [EFFECTS] }),
  annotations: applied(['runtime-hooks', 'runtime-seccomp-notify'], {
    beside: [EFFECTS, 'test/conformance/output-twins.test.ts'],
  }),
  hostname: applied(['runtime-process']),
  domainname: applied(['runtime-process']),
  mounts: applied(['runtime-mounts', 'runtime-copy-up']),
  'mounts[].uidMappings': applied(['runtime-mounts']),
  'mounts[].gidMappings': applied(['runtime-mounts']),
  root: applied(['runtime-mounts']),
  'root.path': applied(['runtime-bad-input']),
  process: applied(['runtime-process', 'runtime-bad-input']),
  'process.args': applied(['runtime-process'], { beside: [TWINS] }),
  'process.commandLine': { is: 'ignored', shownBy: [PARSED] },
  'process.consoleSize': applied(['runtime-terminal'], { beside: [TWINS] }),
  'process.cwd': applied(['runtime-process']),
  'process.env': applied(['runtime-process']),
  'process.terminal': applied(['runtime-terminal'], { beside: [TWINS] }),
  'process.user': applied(['runtime-process']),
  'process.user.username': { is: 'ignored', shownBy: [PARSED] },
  'process.capabilities': applied(['runtime-process']),
  'process.apparmorProfile': {
    is: 'applied',
    shownBy: [BAD_INPUT, 'test/vm/apparmor.test.ts'],
    beside: ['test/vm/apparmor.test.ts'],
    note: 'applied in make test-vm, whose machine has AppArmor; where it is absent it is refused',
  },
  'process.oomScoreAdj': applied(['runtime-process']),
  'process.selinuxLabel': {
    is: 'applied',
    shownBy: [BAD_INPUT],
    note: `${NO_SELINUX}: shown is the refusal where it is absent`,
    alone: NO_SELINUX,
  },
  'process.ioPriority': applied(['runtime-process']),
  'process.noNewPrivileges': applied(['runtime-process']),
  'process.scheduler': applied(['runtime-process']),
  'process.rlimits': applied(['runtime-process']),
  'process.execCPUAffinity': applied(['runtime-exec']),
  linux: applied(['runtime-namespaces', 'runtime-process']),
  'linux.devices': applied(['runtime-process']),
  // Beside crun: runc 1.3 has none.
  'linux.netDevices': applied(['runtime-net-devices'], {
    beside: integration('runtime-net-devices'),
  }),
  'linux.uidMappings': applied(['runtime-namespaces']),
  'linux.gidMappings': applied(['runtime-namespaces']),
  'linux.namespaces': applied(['runtime-namespaces']),
  'linux.resources': applied(['runtime-limits'], {
    shownBy: ['internal/cgroups/limits.test.ts', ...integration('cgroups', 'runtime-limits')],
    as: 'resources',
    beside: ['test/conformance/cgroup-twins.test.ts'],
  }),
  'linux.cgroupsPath': applied(['runtime-limits']),
  'linux.rootfsPropagation': applied(['runtime-mounts']),
  'linux.seccomp': {
    is: 'applied',
    shownBy: ['internal/runtime/seccomp-filter.test.ts', ...integration('runtime-process')],
    as: 'seccomp',
    beside: [BUNDLES, EFFECTS],
  },
  'linux.seccomp.listenerPath': applied(['runtime-seccomp-notify'], { beside: [AGENT] }),
  'linux.seccomp.listenerMetadata': applied(['runtime-seccomp-notify'], { beside: [AGENT] }),
  'linux.sysctl': applied(['runtime-process']),
  'linux.maskedPaths': applied(['runtime-mounts']),
  'linux.readonlyPaths': applied(['runtime-mounts']),
  'linux.mountLabel': {
    is: 'applied',
    shownBy: [BAD_INPUT],
    note: `${NO_SELINUX}: shown is the refusal where it is absent`,
    alone: NO_SELINUX,
  },
  'linux.intelRdt': {
    is: 'applied',
    shownBy: ['internal/cgroups/resctrl.test.ts', ...integration('runtime-resctrl')],
    alone: 'no machine of the tests has a CPU for it',
    note: 'no machine of the tests has a CPU for it: shown with a resctrl in memory, and by the refusal where it is absent',
  },
  'linux.memoryPolicy': applied(['runtime-process'], { alone: 'runc 1.3 has none' }),
  'linux.personality': applied(['runtime-process']),
  'linux.timeOffsets': applied(['runtime-namespaces']),
  solaris: { is: 'ignored', shownBy: [PARSED] },
  windows: { is: 'ignored', shownBy: [PARSED] },
  vm: { is: 'ignored', shownBy: [PARSED] },
  zos: { is: 'ignored', shownBy: [PARSED] },
  freebsd: { is: 'ignored', shownBy: [PARSED] },
};
