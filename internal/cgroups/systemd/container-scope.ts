/**
 * A container's cgroup as systemd keeps it: a transient scope with Delegate=yes (systemd.io/CGROUP_DELEGATION), so that
 * what is below is the container's own and nobody else's. The scope lives as long as a process is in it.
 */
import { posix } from 'node:path';
import { TsError } from '../../errors/index.ts';
import type { CgroupHost } from '../cgroup-host.ts';
import type { CgroupOptions, CgroupResources } from '../cgroup-manager.ts';
import { SystemdBus } from './bus.ts';
import type { BusKind } from './bus-address.ts';
import { deviceProperties } from './device-properties.ts';
import { annotatedProperties } from './property-annotations.ts';
import { resourceProperties, type SystemdFacts } from './resource-properties.ts';
import { type ContainerUnit, containerUnit, unitCgroup } from './unit-name.ts';
import { flag, text, type UnitProperty } from './unit-property.ts';

/** Which unit of which systemd; goes into the state file. */
export interface ScopeName {
  readonly unit: string;
  readonly bus: BusKind;
}

/** What a container's scope is made from. */
export interface ScopeOptions extends CgroupOptions {
  readonly resources: CgroupResources;
  readonly annotations: Readonly<Record<string, string>>;
  /** The first process in it. */
  readonly pid: number;
  readonly host: CgroupHost;
  readonly bus: BusKind;
}

/** A scope that was started. */
export interface StartedScope extends ScopeName {
  /** Directory by controller, as {@link CgroupManager.paths}; those that systemd does not manage need not be there. */
  readonly paths: Readonly<Record<string, string>>;
}

/** What is asked of systemd; its bus is a {@link SystemdBus}. */
export type SystemdCalls = Pick<
  SystemdBus,
  'managerProperty' | 'startTransientUnit' | 'setUnitProperties' | 'stopUnit' | 'resetFailedUnit'
>;

const buses = new Map<BusKind, Promise<SystemdBus>>();

/** The connection of this process, made when it is first needed and again when it was lost. */
export async function systemdBus(kind: BusKind): Promise<SystemdBus> {
  const known = await buses.get(kind)?.catch(() => undefined); // told to whoever asked for it then
  if (known?.isOpen === true) return known;
  const connecting = SystemdBus.connect(kind);
  buses.set(kind, connecting);
  return connecting;
}

/**
 * Starts the scope; with it the limits apply to whatever is in it.
 *
 * Throws what {@link containerUnit} and the properties throw before anything is asked of systemd, AlreadyExists for a
 * scope that is in use.
 */
export async function startScope(
  options: ScopeOptions,
  connect: (kind: BusKind) => Promise<SystemdCalls> = systemdBus,
): Promise<StartedScope> {
  const { host, resources, bus, id } = options;
  const unit = containerUnit(options, bus === 'user');
  const isUnified = host.layout === 'unified';
  if (bus === 'user' && !isUnified) throw noUserSystemd();
  const annotated = annotatedProperties(options.annotations);
  const systemd = await connect(bus);
  const facts = { isUnified, version: await systemdVersion(systemd) };
  const properties = [
    text('Description', `container ${id}`),
    text('Slice', unit.slice),
    { name: 'PIDs', type: 'au', value: [options.pid] },
    flag('DefaultDependencies', false),
    // Nothing of a scope stays when it is empty, however its processes ended.
    text('CollectMode', 'inactive-or-failed'),
    ...delegation(facts),
    ...resourceProperties(resources, facts),
    ...deviceAccess(resources, bus),
    ...annotated,
  ];
  const base = await topCgroup(systemd, bus);
  await start(systemd, unit.name, [
    ...new Map(properties.map((each) => [each.name, each])).values(),
  ]);
  return { unit: unit.name, bus, paths: scopeDirectories(host, base, unit) };
}

/** Where a scope would be; nothing is started. */
export async function locateScope(
  options: Omit<ScopeOptions, 'pid'>,
  connect: (kind: BusKind) => Promise<SystemdCalls> = systemdBus,
): Promise<StartedScope> {
  const { host, bus } = options;
  const unit = containerUnit(options, bus === 'user');
  const base = bus === 'user' ? await topCgroup(await connect(bus), bus) : '/';
  return { unit: unit.name, bus, paths: scopeDirectories(host, base, unit) };
}

/** The cgroup below which a systemd has its units. */
async function topCgroup(systemd: SystemdCalls, bus: BusKind): Promise<string> {
  return bus === 'user' ? systemd.managerProperty('ControlGroup') : '/';
}

/** All controllers go down into the scope, and systemd counts for them. */
function delegation({ isUnified }: SystemdFacts): UnitProperty[] {
  return [
    flag('Delegate', true),
    flag('MemoryAccounting', true),
    flag('CPUAccounting', true),
    flag('TasksAccounting', true),
    flag(isUnified ? 'IOAccounting' : 'BlockIOAccounting', true),
  ];
}

/** An unprivileged systemd cannot restrict devices, and its user has none to restrict. */
function deviceAccess({ devices }: CgroupResources, bus: BusKind): UnitProperty[] {
  if (devices === undefined || bus === 'user') return [];
  return deviceProperties(devices);
}

async function start(
  systemd: SystemdCalls,
  unit: string,
  properties: readonly UnitProperty[],
): Promise<void> {
  try {
    await systemd.startTransientUnit(unit, properties);
  } catch (thrown) {
    if (TsError.from(thrown).kind !== 'AlreadyExists') throw thrown;
    // One that has failed keeps its name until it is reset; one that runs is not touched by that.
    await systemd.resetFailedUnit(unit);
    try {
      await systemd.startTransientUnit(unit, properties);
    } catch (again) {
      const error = TsError.from(again);
      if (error.kind !== 'AlreadyExists') throw error;
      throw new TsError('AlreadyExists', error.message, {
        code: 'TS_SYSTEMD_UNIT_EXISTS',
        cause: again,
        advice: `stop it (systemctl stop ${unit}) or choose another linux.cgroupsPath`,
        fields: { unit },
      });
    }
  }
}

function scopeDirectories(
  host: CgroupHost,
  base: string,
  unit: ContainerUnit,
): Record<string, string> {
  const directories: Record<string, string> = {};
  for (const { controllers, mountPoint, root } of host.hierarchies) {
    const path = posix.join(base, unitCgroup(unit));
    const relative = posix.relative(root, path);
    for (const controller of controllers) {
      directories[controller] = posix.join(mountPoint, relative.startsWith('..') ? path : relative);
    }
  }
  return directories;
}

/** Tells systemd of changed limits; `memoryLimit` is the one of now, 0 if there is none. */
export async function updateScope(
  { unit, bus }: ScopeName,
  resources: CgroupResources,
  now: { readonly isUnified: boolean; readonly memoryLimit: bigint },
  connect: (kind: BusKind) => Promise<SystemdCalls> = systemdBus,
): Promise<void> {
  const systemd = await connect(bus);
  const facts = { isUnified: now.isUnified, version: await systemdVersion(systemd) };
  const properties = resourceProperties(resources, facts, now.memoryLimit);
  if (properties.length > 0) await systemd.setUnitProperties(unit, properties);
}

/** Ends the scope, if it has not ended with its last process, and frees its name. */
export async function stopScope(
  { unit, bus }: ScopeName,
  connect: (kind: BusKind) => Promise<SystemdCalls> = systemdBus,
): Promise<void> {
  const systemd = await connect(bus);
  await systemd.stopUnit(unit);
  await systemd.resetFailedUnit(unit);
}

/**
 * Moves this process into a scope of its own below the user's systemd, unless it is there already (a login's shell is
 * not): from outside of that tree the kernel lets an unprivileged user start nothing in a container's cgroup.
 */
export async function enterUserTree(
  ownCgroup: string,
  connect: (kind: BusKind) => Promise<SystemdCalls> = systemdBus,
): Promise<void> {
  const systemd = await connect('user');
  const top = await systemd.managerProperty('ControlGroup');
  if (ownCgroup === top || ownCgroup.startsWith(`${top}/`)) return;
  await systemd.startTransientUnit(`tsrunc-${process.pid}.scope`, [
    text('Description', 'tsrunc'),
    text('Slice', 'user.slice'),
    { name: 'PIDs', type: 'au', value: [process.pid] },
    text('CollectMode', 'inactive-or-failed'),
  ]);
}

/** `257.13-1~deb13u1` and `v245.4-4ubuntu3` are 257 and 245. */
async function systemdVersion(systemd: SystemdCalls): Promise<number> {
  const version = await systemd.managerProperty('Version');
  return Number(/^v?([0-9]+)/.exec(version)?.[1] ?? 0);
}

function noUserSystemd(): TsError {
  return new TsError(
    'FailedPrecondition',
    "--systemd-cgroup: a user's systemd has no controllers on cgroup v1",
    {
      code: 'TS_SYSTEMD_USER_V1',
      advice: 'boot with systemd.unified_cgroup_hierarchy=1, or leave out --systemd-cgroup',
    },
  );
}
