import { readFileSync } from 'node:fs';
import { isErrno, TsError } from '../errors/index.ts';
import type { ContainerStatus } from '../oci/index.ts';
import {
  type ContainerState,
  isInitAlive,
  readContainerState,
  waitsForStart,
} from './container-state.ts';
import { defaultRoot, type RuntimeOptions } from './runtime-options.ts';
import { stateIds } from './state-directory.ts';

/** A container as `state` and `list` show it. */
export interface ContainerInfo {
  readonly ociVersion: string;
  readonly id: string;
  /** 0 when stopped. */
  readonly pid: number;
  readonly status: ContainerStatus;
  readonly bundle: string;
  readonly rootfs: string;
  readonly created: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Name of the user that created the container; empty from `state`. */
  readonly owner: string;
}

/** What the container is doing now. One that was paused before its start is paused, and created again when resumed. */
export function containerStatus(root: string, state: ContainerState): ContainerStatus {
  if (!isInitAlive(state)) return 'stopped';
  if (isFrozen(state)) return 'paused';
  return waitsForStart(root, state) ? 'created' : 'running';
}

/**
 * Whether the cgroup is frozen or told to be. Read here and not through internal/cgroups, since
 * `state`, `list` and `kill` shall not load it.
 */
export function isFrozen(state: ContainerState): boolean {
  const v1 = state.cgroupPaths['freezer'];
  if (v1 !== undefined) {
    const content = readIfThere(`${v1}/freezer.state`);
    return content === 'FROZEN' || content === 'FREEZING';
  }
  const v2 = state.cgroupPaths[''];
  return v2 !== undefined && readIfThere(`${v2}/cgroup.freeze`) === '1';
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT', 'ENODEV')) return undefined;
    throw thrown;
  }
}

/** Throws NotFound if there is no such container. */
export function containerInfo(options: RuntimeOptions, id: string): ContainerInfo {
  return describe(options.root, readContainerState(options.root, id), '');
}

/**
 * All containers below the state root; those whose state cannot be read are told to `onUnreadable`. Throws
 * NotFound if there is no such root, unless it is the default one, which the first container makes.
 */
export function listContainers(
  options: RuntimeOptions,
  onUnreadable: (id: string, error: TsError) => void,
): ContainerInfo[] {
  const owners = new Map<number, string>();
  const isDefault = options.root === defaultRoot(process.geteuid?.() ?? 0, process.env);
  return stateIds(options.root, { mayBeMissing: isDefault }).flatMap((id) => {
    try {
      const state = readContainerState(options.root, id);
      let owner = owners.get(state.owner);
      if (owner === undefined) {
        owner = userName(state.owner);
        owners.set(state.owner, owner);
      }
      return [describe(options.root, state, owner)];
    } catch (thrown) {
      onUnreadable(id, TsError.from(thrown));
      return [];
    }
  });
}

function describe(root: string, state: ContainerState, owner: string): ContainerInfo {
  const status = containerStatus(root, state);
  return {
    ociVersion: state.ociVersion,
    id: state.id,
    pid: status === 'stopped' ? 0 : state.pid,
    status,
    bundle: state.bundle,
    rootfs: state.rootfs,
    created: state.created,
    ...sorted(state.annotations),
    owner,
  };
}

/** By name, as runc prints a map. */
function sorted(annotations: ContainerState['annotations']): Pick<ContainerInfo, 'annotations'> {
  const entries = Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? {} : { annotations: Object.fromEntries(entries) };
}

/** The user's name, or `#uid` as runc shows one that has none. */
function userName(uid: number): string {
  const passwd = readIfThere('/etc/passwd') ?? '';
  for (const line of passwd.split('\n')) {
    const [name, , id] = line.split(':');
    if (id === String(uid) && name !== undefined) return name;
  }
  return `#${uid}`;
}
