import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { TsError } from '../errors/index.ts';
import type { FlagValues } from '../flags/flag-parser.ts';
import {
  CAPABILITY_NAMES,
  type Capabilities,
  type CpuResources,
  DEFAULT_CAPABILITIES,
  type Device,
  type DeviceRule,
  defaultSeccomp,
  formatJson,
  type LinuxResources,
  type Mount,
  type Namespace,
  parseJson,
  parseSeccomp,
  type Spec,
  type User,
} from '../oci/index.ts';
import { devicesAt } from '../rootfs/host-devices.ts';
import { baseSpec } from './base-spec.ts';
import { labelFlags } from './labels.ts';
import {
  mergeEnv,
  parseIdMap,
  parseMountFlag,
  parseNamespaceFlag,
  parsePropagation,
  readEnvFile,
} from './spec-flags.ts';

/** What an image's configuration says of the process (image-spec config.md). */
export interface ImageProcess {
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  readonly user: string;
}

/** What a configuration is made from. */
export interface SpecInput {
  readonly id: string;
  readonly namespace: string;
  readonly flags: FlagValues;
  /** What the command line has behind the id. */
  readonly args: readonly string[];
  readonly image: ImageProcess | undefined;
  /** Of `--rootfs`. */
  readonly rootfs: string | undefined;
  /** Who the process is; undefined for root of a directory. */
  readonly user: User | undefined;
}

/** A container's configuration as JSON, from a file or from the flags. Throws InvalidArgument by the flag. */
export function specBytes(input: SpecInput): Uint8Array {
  const file = input.flags.string('config');
  if (file === undefined) return Buffer.from(formatJson(specOf(input)));
  try {
    const bytes = readFileSync(file);
    parseJson(bytes, file);
    return bytes;
  } catch (thrown) {
    throw TsError.from(thrown, `read ${file}`);
  }
}

function specOf({ id, namespace, flags, args, image, rootfs, user }: SpecInput): Spec {
  const base = baseSpec(namespace, id);
  const isPrivileged = flags.bool('privileged');
  const annotations = labelFlags([...flags.strings('label'), ...flags.strings('annotation')]);
  const host = flags.string('hostname');
  const capabilities = capabilitiesOf(flags);
  const apparmor = flags.string('apparmor-profile');
  const cwd = flags.string('cwd') ?? (image?.workingDir || '/');
  return {
    ...base,
    process: {
      ...(flags.bool('allow-new-privs') ? mayGainPrivileges(base.process) : base.process),
      ...(flags.bool('tty') ? { terminal: true } : {}),
      user: user ?? base.process.user,
      args: argsOf(args, image),
      env: envOf(flags, image),
      cwd,
      capabilities,
      ...(apparmor === undefined ? {} : { apparmorProfile: apparmor }),
    },
    root: {
      path: rootfs === undefined ? 'rootfs' : resolve(rootfs),
      ...(flags.bool('read-only') ? { readonly: true } : {}),
    },
    ...(host === undefined ? {} : { hostname: host }),
    mounts: mountsOf(base.mounts ?? [], flags, isPrivileged),
    ...(annotations.size === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
    linux: linuxOf(base, flags, isPrivileged, capabilities),
  };
}

function mayGainPrivileges({ noNewPrivileges: _, ...rest }: Spec['process']): Spec['process'] {
  return rest;
}

function argsOf(args: readonly string[], image: ImageProcess | undefined): readonly string[] {
  if (args.length > 0) return args;
  const fromImage = [...(image?.entrypoint ?? []), ...(image?.cmd ?? [])];
  if (fromImage.length > 0) return fromImage;
  throw new TsError('InvalidArgument', 'no arguments specified', {
    advice: 'name a command behind the id of the container',
  });
}

function envOf(flags: FlagValues, image: ImageProcess | undefined): string[] {
  const file = flags.string('env-file');
  const given = [...(file === undefined ? [] : readEnvFile(file)), ...flags.strings('env')];
  const base = mergeEnv(image?.env ?? [], given);
  const terminal = flags.bool('tty') ? ['TERM=xterm'] : [];
  const network = flags.bool('net-host') ? [`HOSTNAME=${hostname()}`] : [];
  return mergeEnv(base, [...terminal, ...network]);
}

function capabilitiesOf(flags: FlagValues): Capabilities {
  const added = flags.strings('cap-add');
  const dropped = flags.strings('cap-drop');
  for (const name of [...added, ...dropped]) {
    if (CAPABILITY_NAMES.some((each) => each === name)) continue;
    const isBare = !name.startsWith('CAP_');
    throw new TsError('InvalidArgument', `capability ${JSON.stringify(name)}: no such capability`, {
      advice: isBare
        ? `capabilities must be specified with 'CAP_' prefix: CAP_${name}`
        : 'see man 7 capabilities',
    });
  }
  const base = flags.bool('privileged') ? ownCapabilities() : DEFAULT_CAPABILITIES;
  const names = [...new Set([...base, ...added])].filter((name) => !dropped.includes(name));
  return { bounding: names, effective: names, permitted: names };
}

/** The capabilities of this process: nobody can give more. */
function ownCapabilities(): string[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  const bits = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return CAPABILITY_NAMES.filter((_, number) => ((bits >> BigInt(number)) & 1n) === 1n);
}

function mountsOf(base: readonly Mount[], flags: FlagValues, isPrivileged: boolean): Mount[] {
  const own = base.map((mount) => {
    if (!isPrivileged || mount.type !== 'sysfs') return mount;
    return {
      ...mount,
      options: (mount.options ?? []).map((each) => (each === 'ro' ? 'rw' : each)),
    };
  });
  const ofHost = ['/etc/hosts', '/etc/resolv.conf'].map((path) => {
    return { destination: path, type: 'bind', source: path, options: ['rbind', 'ro'] };
  });
  const given = flags.strings('mount').map(parseMountFlag);
  return [...own, ...given, ...(flags.bool('net-host') ? ofHost : [])];
}

function linuxOf(
  base: Spec,
  flags: FlagValues,
  isPrivileged: boolean,
  capabilities: Capabilities,
): NonNullable<Spec['linux']> {
  const { linux = {} } = base;
  const { maskedPaths, readonlyPaths, ...rest } = linux;
  const devices = devicesOf(flags, isPrivileged);
  const propagation = flags.string('rootfs-propagation');
  const cgroup = flags.string('cgroup');
  const rdt = flags.string('rdt-class');
  const uidMappings = flags.strings('uidmap').map((text) => parseIdMap('uidmap', text));
  const gidMappings = flags.strings('gidmap').map((text) => parseIdMap('gidmap', text));
  return {
    ...rest,
    ...(isPrivileged
      ? {}
      : { ...(maskedPaths && { maskedPaths }), ...(readonlyPaths && { readonlyPaths }) }),
    ...(cgroup === undefined ? {} : { cgroupsPath: cgroup }),
    namespaces: namespacesOf(rest.namespaces ?? [], flags, uidMappings.length > 0),
    resources: resourcesOf(rest.resources ?? {}, flags, devices, isPrivileged),
    ...(devices.length === 0 ? {} : { devices }),
    ...(propagation === undefined ? {} : { rootfsPropagation: parsePropagation(propagation) }),
    ...(flags.bool('seccomp') && !isPrivileged ? { seccomp: seccompOf(flags, capabilities) } : {}),
    ...(uidMappings.length === 0 ? {} : { uidMappings, gidMappings }),
    ...(rdt === undefined ? {} : { intelRdt: { closID: rdt } }),
  };
}

function namespacesOf(
  base: readonly Namespace[],
  flags: FlagValues,
  hasUserNamespace: boolean,
): Namespace[] {
  const joined = flags.strings('with-ns').map(parseNamespaceFlag);
  const kept = base.filter(({ type }) => {
    if (joined.some((each) => each.type === type)) return false;
    return !(type === 'network' && flags.bool('net-host'));
  });
  return [...kept, ...joined, ...(hasUserNamespace ? [{ type: 'user' } as const] : [])];
}

function devicesOf(flags: FlagValues, isPrivileged: boolean): Device[] {
  const takesHost = isPrivileged && !flags.bool('privileged-without-host-devices');
  // A container has a console of its own.
  const all = takesHost
    ? devicesAt('/dev', '/dev').filter(({ path }) => path !== '/dev/console')
    : [];
  return [...all, ...flags.strings('device').flatMap((path) => devicesAt(path, path))];
}

function resourcesOf(
  base: LinuxResources,
  flags: FlagValues,
  devices: readonly Device[],
  isPrivileged: boolean,
): LinuxResources {
  const limit = flags.number('memory-limit') ?? 0;
  const cpu = cpuOf(flags);
  const allowed = devices.map(
    ({ type, major = 0, minor = 0 }): DeviceRule => ({
      allow: true,
      type: type === 'b' ? 'b' : 'c',
      major,
      minor,
      access: 'rwm',
    }),
  );
  const rules = isPrivileged
    ? [{ allow: true, access: 'rwm' }]
    : [...(base.devices ?? []), ...allowed];
  return {
    ...base,
    devices: rules,
    ...(limit > 0 ? { memory: { limit: BigInt(limit) } } : {}),
    ...(cpu === undefined ? {} : { cpu }),
  };
}

const CPU_PERIOD_US = 100_000;

function cpuOf(flags: FlagValues): CpuResources | undefined {
  const cpus = flags.number('cpus') ?? 0;
  const quota = flags.number('cpu-quota') ?? -1;
  const period = flags.number('cpu-period') ?? 0;
  if (cpus > 0 && (quota > 0 || period > 0)) {
    throw new TsError('InvalidArgument', 'cpus and quota/period should be used separately');
  }
  // A flag of `run` alone, which has a default there.
  const shares = flags.number('cpu-shares') ?? 0;
  const processors = flags.string('cpuset-cpus');
  const memories = flags.string('cpuset-mems');
  const cpu: CpuResources = {
    ...(shares > 0 ? { shares: BigInt(shares) } : {}),
    ...(cpus > 0
      ? { quota: BigInt(Math.trunc(cpus * CPU_PERIOD_US)), period: BigInt(CPU_PERIOD_US) }
      : {}),
    ...(quota > -1 ? { quota: BigInt(quota) } : {}),
    ...(period > 0 ? { period: BigInt(period) } : {}),
    ...(processors === undefined ? {} : { cpus: processors }),
    ...(memories === undefined ? {} : { mems: memories }),
  };
  return Object.keys(cpu).length === 0 ? undefined : cpu;
}

function seccompOf(flags: FlagValues, { bounding = [] }: Capabilities) {
  const path = flags.string('seccomp-profile');
  if (path === undefined) return defaultSeccomp(bounding);
  try {
    return parseSeccomp(readFileSync(path), path);
  } catch (thrown) {
    throw TsError.from(thrown, `read ${path}`);
  }
}
