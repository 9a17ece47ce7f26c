import { checkMountOptions } from './mount-option-check.ts';
import { propertyError } from './schema-check.ts';
import type { Mount, Process, Spec } from './spec.ts';
import type { Linux, NamespaceType, Seccomp } from './spec-linux.ts';
import type { LinuxResources } from './spec-resources.ts';

/**
 * Rules of the runtime spec that hold between properties, which no table of types can say. What
 * depends on this machine (kernel features, files that must be there) is the runtime's to find.
 */

type Refuse = (property: string, problem: string, advice?: string) => never;

function refusal(document: string): Refuse {
  return (property, problem, advice) => {
    throw propertyError(document, property, problem, advice);
  };
}

/** Throws InvalidArgument for the first rule that the configuration breaks. */
export function checkSpecRules(spec: Spec, document: string): void {
  const refuse: Refuse = refusal(document);
  const linux = spec.linux ?? {};
  const namespaces = namespaceTypes(linux, refuse);
  checkProcessRules(spec.process, document, 'process.');
  checkNamespaceUse(spec, linux, namespaces, refuse);
  checkUserNamespace(linux, namespaces, refuse);
  spec.mounts?.forEach((mount, index) => {
    checkMount(mount, `mounts[${index}]`, namespaces, document, refuse);
  });
  checkDevices(linux, refuse);
  checkSysctls(linux, namespaces, refuse);
  if (linux.seccomp !== undefined) checkSeccompRules(linux.seccomp, document);
  if (linux.resources !== undefined) {
    checkResourceRules(linux.resources, document, 'linux.resources.');
  }
  if (linux.personality?.flags !== undefined && linux.personality.flags.length > 0) {
    refuse('linux.personality.flags', 'the spec defines no flags');
  }
}

/** `prefix` is what comes before a property's name: `process.`, or nothing in a file of its own. */
export function checkProcessRules(process: Process, document: string, prefix: string): void {
  const refuse: Refuse = refusal(document);
  if (process.args.length === 0) refuse(`${prefix}args`, 'is empty');
  if (process.args[0] === '') refuse(`${prefix}args[0]`, 'is empty');

  const rlimits = process.rlimits ?? [];
  rlimits.forEach(({ type, soft, hard }, index) => {
    if (rlimits.findIndex((other) => other.type === type) < index) {
      refuse(`${prefix}rlimits[${index}].type`, `duplicate rlimit "${type}"`);
    }
    if (soft > hard) refuse(`${prefix}rlimits[${index}].soft`, `${soft} is above hard, ${hard}`);
  });

  const scheduler = process.scheduler;
  if (scheduler !== undefined) {
    const { policy } = scheduler;
    const isRealtime = policy === 'SCHED_FIFO' || policy === 'SCHED_RR';
    if ((scheduler.priority ?? 0) !== 0 && !isRealtime) {
      refuse(`${prefix}scheduler.priority`, `is not for ${policy}, only SCHED_FIFO and SCHED_RR`);
    }
    if (policy === 'SCHED_DEADLINE') return;
    for (const name of ['runtime', 'deadline', 'period'] as const) {
      if ((scheduler[name] ?? 0n) !== 0n) {
        refuse(`${prefix}scheduler.${name}`, `is not for ${policy}, only SCHED_DEADLINE`);
      }
    }
  }
}

function namespaceTypes(linux: Linux, refuse: Refuse): Set<NamespaceType> {
  const types = new Set<NamespaceType>();
  linux.namespaces?.forEach(({ type }, index) => {
    if (types.has(type)) refuse(`linux.namespaces[${index}].type`, `duplicate namespace "${type}"`);
    types.add(type);
  });
  return types;
}

/** What would otherwise change the host's own namespace. */
function checkNamespaceUse(
  spec: Spec,
  linux: Linux,
  namespaces: Set<NamespaceType>,
  refuse: Refuse,
): void {
  const demand = (property: string, value: unknown, type: NamespaceType): void => {
    const isGiven =
      typeof value === 'object' && value !== null
        ? Object.keys(value).length > 0
        : value !== undefined;
    if (isGiven && !namespaces.has(type)) {
      refuse(
        property,
        `cannot be set without a ${type} namespace`,
        `add {"type": "${type}"} to linux.namespaces`,
      );
    }
  };
  demand('hostname', spec.hostname, 'uts');
  demand('domainname', spec.domainname, 'uts');
  demand('linux.maskedPaths', linux.maskedPaths, 'mount');
  demand('linux.readonlyPaths', linux.readonlyPaths, 'mount');
  demand('linux.timeOffsets', linux.timeOffsets, 'time');
  demand('linux.netDevices', linux.netDevices, 'network');
  checkNetDeviceNames(linux, refuse);
  const timePath = linux.namespaces?.find(({ type }) => type === 'time')?.path;
  if (linux.timeOffsets !== undefined && timePath !== undefined) {
    refuse('linux.timeOffsets', 'cannot be set for a time namespace that is joined');
  }
}

/** Two devices cannot have one name in the container. */
function checkNetDeviceNames({ netDevices = {} }: Linux, refuse: Refuse): void {
  const taken = new Set<string>();
  for (const [key, { name = '' }] of Object.entries(netDevices)) {
    const inside = name === '' ? key : name;
    if (taken.has(inside)) {
      refuse(
        `linux.netDevices[${JSON.stringify(key)}].name`,
        `"${inside}" is another device's name`,
      );
    }
    taken.add(inside);
  }
}

function checkUserNamespace(linux: Linux, namespaces: Set<NamespaceType>, refuse: Refuse): void {
  const index = linux.namespaces?.findIndex(({ type }) => type === 'user') ?? -1;
  for (const name of ['uidMappings', 'gidMappings'] as const) {
    const mappings = linux[name] ?? [];
    if (mappings.length > 0 && !namespaces.has('user')) {
      refuse(
        `linux.${name}`,
        'cannot be set without a user namespace',
        'add {"type": "user"} to linux.namespaces',
      );
    }
    if (mappings.length === 0 && index >= 0 && linux.namespaces?.[index]?.path === undefined) {
      refuse(`linux.${name}`, 'is required for a new user namespace');
    }
    mappings.forEach(({ containerID, hostID, size }, position) => {
      if (containerID + size > 2 ** 32 || hostID + size > 2 ** 32) {
        refuse(`linux.${name}[${position}].size`, `${size} goes beyond the last id, 4294967295`);
      }
    });
  }
}

function checkMount(
  mount: Mount,
  property: string,
  namespaces: Set<NamespaceType>,
  document: string,
  refuse: Refuse,
): void {
  checkMountOptions(mount, property, document);
  const options = mount.options ?? [];
  const isBind = options.includes('bind') || options.includes('rbind');
  const idmap = options.find((option) => option === 'idmap' || option === 'ridmap');
  const hasUids = (mount.uidMappings ?? []).length > 0;
  const hasGids = (mount.gidMappings ?? []).length > 0;
  if (hasUids !== hasGids) {
    const absent = hasUids ? 'gidMappings' : 'uidMappings';
    refuse(`${property}.${absent}`, 'is required where the other mapping is given');
  }
  const isIdMapped = hasUids || idmap !== undefined;
  if (isIdMapped && !isBind) {
    refuse(`${property}.${hasUids ? 'uidMappings' : 'options'}`, 'only bind mounts can map ids');
  }
  if (isIdMapped && !hasUids && !namespaces.has('user')) {
    refuse(
      `${property}.uidMappings`,
      `is required by the option "${idmap}" without a user namespace`,
    );
  }
  if (options.includes('tmpcopyup') && mount.type !== 'tmpfs') {
    refuse(`${property}.options`, 'tmpcopyup is only for tmpfs');
  }
}

function checkDevices(linux: Linux, refuse: Refuse): void {
  linux.devices?.forEach((device, index) => {
    if (device.type === 'p') return;
    for (const name of ['major', 'minor'] as const) {
      if (device[name] === undefined) {
        refuse(`linux.devices[${index}].${name}`, `is required for type "${device.type}"`);
      }
    }
  });
}

/** sysctl names that belong to the ipc namespace, whole or up to a dot (ipc/ipc_sysctl.c, mq_sysctl.c). */
const IPC_SYSCTLS = [
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
];

/** A sysctl outside the container's own namespaces would change the host. */
function checkSysctls(linux: Linux, namespaces: Set<NamespaceType>, refuse: Refuse): void {
  for (const key of Object.keys(linux.sysctl ?? {})) {
    const property = `linux.sysctl[${JSON.stringify(key)}]`;
    const name = dottedSysctl(key);
    const type = namespaceOfSysctl(key);
    if (type === undefined) {
      refuse(property, 'is not of a namespace: setting it would change the host');
    } else if (!namespaces.has(type)) {
      refuse(
        property,
        `cannot be set without a ${type} namespace`,
        `add {"type": "${type}"} to linux.namespaces`,
      );
    } else if (name === 'kernel.hostname') {
      refuse(property, 'is set by hostname', 'use the property hostname instead');
    }
  }
}

/** The namespace to which a sysctl belongs; undefined for one of the whole machine. */
export function namespaceOfSysctl(key: string): NamespaceType | undefined {
  return sysctlNamespace(dottedSysctl(key));
}

/** As sysctl(8) reads names: whichever of dot and slash comes first is the separator. */
function dottedSysctl(key: string): string {
  const separator = /[./]/.exec(key)?.[0];
  return separator === '/' ? key.replace(/[./]/g, (found) => (found === '/' ? '.' : '/')) : key;
}

function sysctlNamespace(name: string): NamespaceType | undefined {
  if (name.startsWith('net.')) return 'network';
  if (name.startsWith('fs.mqueue.') || IPC_SYSCTLS.includes(name)) return 'ipc';
  if (name.startsWith('user.')) return 'user';
  if (name === 'kernel.domainname' || name === 'kernel.hostname') return 'uts';
  return undefined;
}

/** Throws InvalidArgument for the first rule of config-linux.md#seccomp that is broken. */
export function checkSeccompRules(seccomp: Seccomp, document: string): void {
  const refuse: Refuse = refusal(document);
  const takesErrno = (action: string): boolean =>
    action === 'SCMP_ACT_ERRNO' || action === 'SCMP_ACT_TRACE';
  const base = 'linux.seccomp';
  if (seccomp.defaultErrnoRet !== undefined && !takesErrno(seccomp.defaultAction)) {
    refuse(`${base}.defaultErrnoRet`, `cannot be used with ${seccomp.defaultAction}`);
  }
  if (seccomp.defaultAction === 'SCMP_ACT_NOTIFY') {
    refuse(`${base}.defaultAction`, 'SCMP_ACT_NOTIFY would stop the runtime itself');
  }
  if (seccomp.listenerMetadata !== undefined && seccomp.listenerPath === undefined) {
    refuse(`${base}.listenerMetadata`, 'cannot be used without listenerPath');
  }
  seccomp.syscalls?.forEach(({ names, action, errnoRet }, index) => {
    const property = `${base}.syscalls[${index}]`;
    if (names.length === 0) refuse(`${property}.names`, 'is empty');
    if (errnoRet !== undefined && !takesErrno(action)) {
      refuse(`${property}.errnoRet`, `cannot be used with ${action}`);
    }
    if (action !== 'SCMP_ACT_NOTIFY') return;
    if (seccomp.listenerPath === undefined) {
      refuse(`${base}.listenerPath`, `is required for SCMP_ACT_NOTIFY (syscalls[${index}])`);
    }
    // The runtime sends the listener's fd from inside the filter with sendmsg and write.
    if (names.includes('write')) {
      refuse(`${property}.names`, 'SCMP_ACT_NOTIFY of "write" would stop the runtime itself');
    }
  });
}

/** `prefix` as in {@link checkProcessRules}: `linux.resources.`, or nothing in a file of its own. */
export function checkResourceRules(
  resources: LinuxResources,
  document: string,
  prefix: string,
): void {
  const refuse: Refuse = refusal(document);
  const { memory, blockIO } = resources;
  if (memory?.swappiness !== undefined && memory.swappiness > 100n) {
    refuse(`${prefix}memory.swappiness`, `${memory.swappiness} is not between 0 and 100`);
  }
  for (const name of ['limit', 'reservation', 'swap'] as const) {
    const value = memory?.[name];
    if (value !== undefined && value < -1n) {
      refuse(`${prefix}memory.${name}`, `${value} is negative, only -1 (unlimited) may be`);
    }
  }
  const checkWeight = (property: string, weight: number | undefined): void => {
    if (weight !== undefined && weight !== 0 && (weight < 10 || weight > 1000)) {
      refuse(property, `${weight} is not between 10 and 1000`);
    }
  };
  checkWeight(`${prefix}blockIO.weight`, blockIO?.weight);
  checkWeight(`${prefix}blockIO.leafWeight`, blockIO?.leafWeight);
  blockIO?.weightDevice?.forEach(({ weight, leafWeight }, index) => {
    checkWeight(`${prefix}blockIO.weightDevice[${index}].weight`, weight);
    checkWeight(`${prefix}blockIO.weightDevice[${index}].leafWeight`, leafWeight);
  });
  resources.devices?.forEach((rule, index) => {
    const isAll = rule.type === undefined || rule.type === 'a';
    if (isAll && ((rule.major ?? -1) >= 0 || (rule.minor ?? -1) >= 0)) {
      refuse(
        `${prefix}devices[${index}].type`,
        'must be "b" or "c" where a device number is given',
      );
    }
  });
}
