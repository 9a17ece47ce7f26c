/**
 * The part of a container's life that systemd takes part in, if it is the cgroup driver. It answers over D-Bus while this
 * process does other things, so this is around the operations that make and remove a container, not in them.
 *
 * systemd makes a scope only for a process that is there. That is not the container's, which must never run outside of its
 * limits, but a child that does nothing: the container is then born in the scope's cgroup like in any other, and the child
 * ends. If this process is killed meanwhile, so is the child, and the empty scope goes.
 */
import { readFileSync } from 'node:fs';
import {
  adoptCgroup,
  containerDeviceRules,
  detectCgroupHost,
  memoryNow,
  openCgroup,
  refuseBelowUsage,
  type ScopeName,
  systemdDriver,
} from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import type { LinuxResources } from '../oci/index.ts';
import { type Bundle, loadBundle } from './bundle.ts';
import { readContainerState } from './container-state.ts';
import {
  type CreateRequest,
  createContainer as createWith,
  explainCreate as explain,
} from './create.ts';
import { isRootless, perform, type RuntimeOptions } from './runtime-options.ts';
import { containerStatus } from './status.ts';

/**
 * Creates a container as `createContainer` of create.ts does, or as `make` does, in a cgroup of the driver that is on.
 */
export async function createContainer(
  options: RuntimeOptions,
  request: CreateRequest,
  bundle: Bundle = loadBundle(request.bundle),
  make: typeof createWith = createWith,
): Promise<number> {
  if (options.systemdCgroup !== true) return perform(options, make(options, request, bundle));
  const { WaitingChild } = await import('../linux/waiting-child.ts');
  const { startScope } = await systemdDriver();
  const wanted = scopeOptions(options, request, bundle);
  if (wanted.bus === 'user') await enterOwnTree();
  using holder = new WaitingChild();
  const { paths, ...name } = await startScope({ ...wanted, pid: holder.pid });
  try {
    const cgroup = adoptCgroup(paths, { holder: holder.pid, isTolerant: wanted.rootless });
    const inScope = { ...request, scope: { name, cgroup } };
    return await perform(options, make(options, inScope, bundle));
  } catch (thrown) {
    const error = TsError.from(thrown);
    holder[Symbol.dispose]();
    try {
      await perform(options, openCgroup(paths).remove()); // also of what systemd does not manage
      await endScope(name);
    } catch (second) {
      error.cleanup.push(TsError.from(second));
    }
    throw error;
  }
}

/** The program that `create` would run, as text; nothing is made. */
export async function explainCreate(
  options: RuntimeOptions,
  request: CreateRequest,
): Promise<string[]> {
  if (options.systemdCgroup !== true) return perform(options, explain(options, request));
  const wanted = scopeOptions(options, request, loadBundle(request.bundle));
  const { paths, ...name } = await (await systemdDriver()).locateScope(wanted);
  const scope = { name, cgroup: openCgroup(paths) };
  return perform(options, explain(options, { ...request, scope }));
}

function scopeOptions(options: RuntimeOptions, { id }: CreateRequest, { spec }: Bundle) {
  const uid = process.geteuid?.() ?? 0;
  const rootless = isRootless(options, uid);
  const resources = spec.linux?.resources ?? {};
  return {
    id,
    rootless,
    ...(spec.linux?.cgroupsPath === undefined ? {} : { cgroupsPath: spec.linux.cgroupsPath }),
    resources: { ...resources, devices: containerDeviceRules(resources.devices) },
    annotations: spec.annotations ?? {},
    host: detectCgroupHost(),
    bus: rootless && (uid !== 0 || hasSession()) ? ('user' as const) : ('system' as const),
  };
}

function hasSession(): boolean {
  return [process.env['DBUS_SESSION_BUS_ADDRESS'], process.env['XDG_RUNTIME_DIR']].some(Boolean);
}

/** Only inside of the tree of his systemd may a user start a process in another cgroup. */
async function enterOwnTree(): Promise<void> {
  const { enterUserTree } = await systemdDriver();
  const [, own = '/'] = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8')) ?? [];
  await enterUserTree(own);
}

/** Ends the scope of a container that is gone; undefined is none. */
export async function endScope(scope: ScopeName | undefined): Promise<void> {
  if (scope !== undefined) await (await systemdDriver()).stopScope(scope);
}

/** Tells systemd of limits that are about to change. Throws as the change itself would, before anything is changed. */
export async function updateScope(
  options: RuntimeOptions,
  id: string,
  { devices: _unchanged, ...resources }: LinuxResources,
): Promise<void> {
  const state = readContainerState(options.root, id);
  if (state.cgroupScope === undefined) return;
  if (containerStatus(options.root, state) === 'stopped') return; // which is refused by the change
  const { limit, usage } = memoryNow(state.cgroupPaths);
  refuseBelowUsage(resources, usage);
  const isUnified = openCgroup(state.cgroupPaths).layout === 'unified';
  const driver = await systemdDriver();
  await driver.updateScope(state.cgroupScope, resources, { isUnified, memoryLimit: limit });
}

/** Before an exec: a user outside of the tree of his systemd could not put a process into the container's cgroup. */
export async function prepareExec(options: RuntimeOptions, id: string): Promise<void> {
  if (process.geteuid?.() === 0) return;
  if (readContainerState(options.root, id).cgroupScope?.bus === 'user') await enterOwnTree();
}
