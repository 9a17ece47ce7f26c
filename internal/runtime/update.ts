import { readFileSync } from 'node:fs';
import { openCgroup } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';
import { type LinuxResources, parseResources } from '../oci/index.ts';
import { readContainerState } from './container-state.ts';
import { type SchemaOptions, updateSchemas } from './intel-rdt.ts';
import { notRunning } from './kill.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { containerStatus } from './status.ts';

/** Reads a resources document: a file, or stdin for `-`. */
export function readResources(path: string): LinuxResources {
  try {
    return parseResources(readFileSync(path === '-' ? 0 : path), path === '-' ? 'stdin' : path);
  } catch (thrown) {
    throw TsError.from(thrown, `read ${path}`);
  }
}

/** As {@link readResources}, of a text. */
export function resourcesOfText(text: string): LinuxResources {
  return parseResources(Buffer.from(text), 'resources');
}

/**
 * Changes limits of a container; what `resources` does not name stays. Device rules are not changed,
 * as with runc.
 */
export function* updateContainer(
  options: RuntimeOptions,
  id: string,
  resources: LinuxResources,
  schemas: SchemaOptions,
): Operation<void> {
  const state = readContainerState(options.root, id);
  if (containerStatus(options.root, state) === 'stopped') throw notRunning(id);
  const { devices: _unchanged, ...limits } = resources;
  const cgroup = openCgroup(state.cgroupPaths);
  yield* cgroup.update(limits, { byChild: options.perform !== undefined });
  updateSchemas(options, state, cgroup, schemas);
}
