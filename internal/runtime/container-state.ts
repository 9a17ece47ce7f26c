/**
 * `ROOT/ID/state.json`: what later commands need to know of a container. The outer names are runc's,
 * since others read them there (cAdvisor, node agents); `tsrunc` holds what is ours alone.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { ScopeName } from '../cgroups/index.ts';
import { isErrno, TsError } from '../errors/index.ts';
import { checkContainerId } from './container-id.ts';
import { isAlive } from './process-stat.ts';
import { containerNotFound, statePath } from './state-directory.ts';

/** Stable facts of a created container; its status is found out anew each time. */
export interface ContainerState {
  readonly id: string;
  readonly pid: number;
  /** Clock ticks after boot (/proc/PID/stat). */
  readonly startTime: number;
  /** RFC 3339, UTC. */
  readonly created: string;
  readonly ociVersion: string;
  readonly bundle: string;
  readonly rootfs: string;
  /** User id that created the container. */
  readonly owner: number;
  readonly isRootless: boolean;
  /** Whether init's end does not end all others, as it has no pid namespace of its own. */
  readonly sharesPidNamespace: boolean;
  readonly annotations: Readonly<Record<string, string>>;
  /** Directory by controller; the one of cgroup v2 has the key `''`. */
  readonly cgroupPaths: Readonly<Record<string, string>>;
  /** The scope, where systemd keeps the cgroup. */
  readonly cgroupScope?: ScopeName;
  /** Path of the namespace's file by runc's name: NEWNS, NEWPID, … */
  readonly namespacePaths: Readonly<Record<string, string>>;
  /** What stdin, stdout and stderr led to when it was made: `pipe:[1234]`. A restore finds pipes by it. */
  readonly stdio: readonly string[];
  /** Labels of the steps that the init process makes after `start`, by step index. */
  readonly startLabels: Readonly<Record<string, string>>;
}

const STATE_FILE = 'state.json';
export const EXEC_FIFO = 'exec.fifo';
export const CONFIG_COPY = 'config.json';
/** Takes the error of a step that fails after `start`. */
export const START_ERRORS = 'start.errors';

/** Writes the state so that a reader sees all of it or nothing. */
export function writeContainerState(root: string, state: ContainerState): void {
  const path = statePath(root, state.id, STATE_FILE);
  const temporary = `${path}.new`;
  writeFileSync(temporary, serializeState(state), { mode: 0o600 });
  renameSync(temporary, path);
}

/** Throws NotFound if there is no such container, DataLoss if its state cannot be read. */
export function readContainerState(root: string, id: string): ContainerState {
  checkContainerId(id);
  const path = statePath(root, id, STATE_FILE);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT', 'ENOTDIR')) throw containerNotFound(id);
    throw TsError.from(thrown, `read ${path}`);
  }
  try {
    return parseState(text);
  } catch (thrown) {
    throw new TsError('DataLoss', `parse ${path}: ${(thrown as Error).message}`, {
      code: 'TS_STATE_UNREADABLE',
      cause: thrown,
      advice: `remove the container with: tsrunc delete --force ${id}`,
    });
  }
}

export function serializeState(state: ContainerState): string {
  return JSON.stringify({
    id: state.id,
    init_process_pid: state.pid,
    init_process_start: state.startTime,
    created: state.created,
    config: { rootfs: state.rootfs, labels: [`bundle=${state.bundle}`] },
    rootless: state.isRootless,
    cgroup_paths: state.cgroupPaths,
    namespace_paths: state.namespacePaths,
    external_descriptors: state.stdio,
    tsrunc: {
      ociVersion: state.ociVersion,
      bundle: state.bundle,
      owner: state.owner,
      sharesPidNamespace: state.sharesPidNamespace,
      annotations: state.annotations,
      startLabels: state.startLabels,
      cgroupScope: state.cgroupScope,
    },
  });
}

export function parseState(text: string): ContainerState {
  const json = JSON.parse(text) as Record<string, unknown>;
  const own = json['tsrunc'] as Record<string, unknown>;
  const config = json['config'] as Record<string, unknown>;
  const pid = json['init_process_pid'];
  if (typeof pid !== 'number' || pid <= 0) throw new Error('no init_process_pid');
  return {
    id: json['id'] as string,
    pid,
    startTime: json['init_process_start'] as number,
    created: json['created'] as string,
    ociVersion: own['ociVersion'] as string,
    bundle: own['bundle'] as string,
    rootfs: config['rootfs'] as string,
    owner: own['owner'] as number,
    isRootless: json['rootless'] as boolean,
    sharesPidNamespace: own['sharesPidNamespace'] as boolean,
    annotations: own['annotations'] as Record<string, string>,
    cgroupPaths: json['cgroup_paths'] as Record<string, string>,
    namespacePaths: json['namespace_paths'] as Record<string, string>,
    stdio: json['external_descriptors'] as string[],
    startLabels: own['startLabels'] as Record<string, string>,
    ...(own['cgroupScope'] === undefined ? {} : { cgroupScope: own['cgroupScope'] as ScopeName }),
  };
}

/** Whether the init process has not ended (a zombie has). */
export function isInitAlive(state: ContainerState): boolean {
  return isAlive(state.pid, state.startTime);
}

/** Whether init still waits for `start`. */
export function waitsForStart(root: string, state: ContainerState): boolean {
  return existsSync(statePath(root, state.id, EXEC_FIFO));
}
