/** linux.intelRdt in a container's life: its group of resctrl, from `create` to `delete`. */
import { readdirSync } from 'node:fs';
import {
  type CgroupManager,
  locateResctrl,
  ResctrlGroup,
  type ResctrlHost,
  type ResctrlPaths,
  type ResctrlStatistics,
  readResctrlStatistics,
  resctrlMissing,
  schemaLines,
} from '../cgroups/index.ts';
import { isErrno, TsError } from '../errors/index.ts';
import type { IntelRdt, Spec } from '../oci/index.ts';
import { type ContainerState, writeContainerState } from './container-state.ts';
import type { Rollback } from './rollback.ts';
import type { RuntimeOptions } from './runtime-options.ts';

/** Limits that `update` names. */
export type SchemaOptions = Pick<IntelRdt, 'l3CacheSchema' | 'memBwSchema'>;

function host(options: RuntimeOptions): ResctrlHost | undefined {
  return options.resctrl ?? locateResctrl();
}

function hostOf(options: RuntimeOptions, { group }: ResctrlPaths): ResctrlHost {
  const found = host(options);
  if (found !== undefined) return found;
  throw resctrlMissing(`resctrl group ${group}`);
}

/**
 * The group that a new container is to be in, undefined for none. Nothing is made. Throws FailedPrecondition, or
 * AlreadyExists, if it cannot be had.
 */
export function planIntelRdt(
  options: RuntimeOptions,
  id: string,
  { linux }: Spec,
): ResctrlGroup | undefined {
  const rdt = linux?.intelRdt;
  if (rdt === undefined) return undefined;
  const found = host(options);
  if (found === undefined) throw resctrlMissing('config.json: linux.intelRdt');
  const group = ResctrlGroup.of(found, id, rdt);
  group.check(rdt);
  return group;
}

/** Makes the planned group, until the operation fails. */
export function makeIntelRdt(
  group: ResctrlGroup | undefined,
  { linux }: Spec,
  rollback: Rollback,
): void {
  if (group !== undefined) rollback.onFailure(group.make(linux?.intelRdt ?? {}));
}

/** Puts a process of one thread, which is about to be one of the container's, into its group. */
export function joinIntelRdt(options: RuntimeOptions, state: ContainerState, pid: number): void {
  if (state.resctrl === undefined) return;
  new ResctrlGroup(hostOf(options, state.resctrl), state.resctrl).join(pid);
}

export function removeIntelRdt(options: RuntimeOptions, { resctrl }: ContainerState): void {
  if (resctrl === undefined) return;
  const found = host(options);
  if (found !== undefined) new ResctrlGroup(found, resctrl).remove(); // else it went with the mount
}

/**
 * Removes the group of a container that has no state. It may be another's, if the create was killed before it had looked:
 * so nothing is touched in which tasks are.
 */
export function removeLeftIntelRdt(options: RuntimeOptions, id: string, { linux }: Spec): void {
  const rdt = linux?.intelRdt;
  const found = rdt === undefined ? undefined : host(options);
  if (rdt === undefined || found === undefined) return;
  const group = ResctrlGroup.of(found, id, rdt);
  if (!group.paths.isOwn || group.tasks().length === 0) group.remove();
}

export function intelRdtStatistics(
  options: RuntimeOptions,
  { resctrl }: ContainerState,
): ResctrlStatistics | undefined {
  if (resctrl === undefined) return undefined;
  return readResctrlStatistics(hostOf(options, resctrl), resctrl);
}

/** Throws FailedPrecondition for limits that this machine cannot have, before anything is changed. */
export function refuseSchemas(options: RuntimeOptions, schemas: SchemaOptions): void {
  const found = host(options);
  const names = { l3CacheSchema: '--l3-cache-schema', memBwSchema: '--mem-bw-schema' } as const;
  for (const property of ['l3CacheSchema', 'memBwSchema'] as const) {
    const value = schemas[property];
    if (value === undefined) continue;
    if (found === undefined) throw resctrlMissing(names[property]);
    const lines = schemaLines({ [property]: value });
    for (const line of lines) {
      ResctrlGroup.of(found, '', {}).checkResource(line, names[property]);
    }
  }
}

/** Changes limits. A container without a group gets one of its own, as with runc, and all that runs in it goes there. */
export function updateSchemas(
  options: RuntimeOptions,
  state: ContainerState,
  cgroup: CgroupManager,
  schemas: SchemaOptions,
): void {
  const lines = schemaLines(schemas);
  if (lines.length === 0) return;
  if (state.resctrl !== undefined) {
    new ResctrlGroup(hostOf(options, state.resctrl), state.resctrl).limit(lines);
    return;
  }
  const found = host(options);
  if (found === undefined) throw resctrlMissing('resctrl');
  const group = ResctrlGroup.of(found, state.id, {});
  group.check(schemas);
  const undo = group.make(schemas);
  try {
    writeContainerState(options.root, { ...state, resctrl: group.paths });
    moveAll(group, cgroup);
  } catch (thrown) {
    const error = TsError.from(thrown);
    try {
      writeContainerState(options.root, state);
      undo();
    } catch (second) {
      error.cleanup.push(TsError.from(second));
    }
    throw error;
  }
}

/** Every thread: until a look finds none that is outside, since those outside bear children there. */
function moveAll(group: ResctrlGroup, cgroup: CgroupManager): void {
  const inside = new Set<number>();
  for (;;) {
    const outside = cgroup
      .allPids()
      .flatMap(threadsOf)
      .filter((tid) => !inside.has(tid));
    if (outside.length === 0) return;
    for (const tid of outside) {
      inside.add(tid);
      try {
        group.join(tid);
      } catch (thrown) {
        if (TsError.from(thrown).fields['errno'] !== 'ESRCH') throw thrown; // it has ended meanwhile
      }
    }
  }
}

function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT', 'ESRCH')) return [];
    throw TsError.from(thrown, `list /proc/${pid}/task`);
  }
}
