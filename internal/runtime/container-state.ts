/**
 * `ROOT/ID/state.json`: what later commands need to know of a container. The outer names are runc's,
 * since others read them there (cAdvisor, node agents); `tsrunc` holds what is ours alone.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import type { ResctrlPaths, ScopeName } from '../cgroups/index.ts';
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
  /** Its place in resctrl, if it has one. */
  readonly resctrl?: ResctrlPaths;
  /** Path of the namespace's file by runc's name: NEWNS, NEWPID, … */
  readonly namespacePaths: Readonly<Record<string, string>>;
  /** What stdin, stdout and stderr led to when it was made: `pipe:[1234]`. A restore finds pipes by it. */
  readonly stdio: readonly string[];
  /** Labels of the steps that the init process makes after `start`, by step index. */
  readonly startLabels: Readonly<Record<string, string>>;
}

export const STATE_FILE = 'state.json';
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
    const state = parseState(text);
    if (state.id !== id) throw new Error(`is of the container ${JSON.stringify(state.id)}`);
    return state;
  } catch (thrown) {
    throw new TsError('DataLoss', `parse ${path}: ${(thrown as Error).message}`, {
      code: 'TS_STATE_UNREADABLE',
      cause: thrown,
      advice: `use the runtime that made the container, or remove it: tsrunc --root ${root} delete --force ${id}`,
      fields: { id, path },
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
    intel_rdt_path: state.resctrl?.group,
    external_descriptors: state.stdio,
    tsrunc: {
      ociVersion: state.ociVersion,
      bundle: state.bundle,
      owner: state.owner,
      sharesPidNamespace: state.sharesPidNamespace,
      annotations: state.annotations,
      startLabels: state.startLabels,
      cgroupScope: state.cgroupScope,
      resctrl: state.resctrl,
    },
  });
}

/** Throws an Error that says what is wrong: the file may be cut, or another runtime's. */
export function parseState(text: string): ContainerState {
  const json = objectOf(parseJson(text), 'it');
  const pid = number(json, 'init_process_pid');
  if (pid <= 0) throw new Error(`init_process_pid is ${pid}`);
  if (json['tsrunc'] === undefined) throw new Error('was not written by tsrunc');
  const own = objectOf(json['tsrunc'], 'tsrunc');
  const { cgroupScope: scope, resctrl } = own;
  return {
    id: string(json, 'id'),
    pid,
    startTime: number(json, 'init_process_start'),
    created: string(json, 'created'),
    ociVersion: string(own, 'ociVersion'),
    bundle: string(own, 'bundle'),
    rootfs: string(objectOf(json['config'], 'config'), 'rootfs'),
    owner: number(own, 'owner'),
    isRootless: flag(json, 'rootless'),
    sharesPidNamespace: flag(own, 'sharesPidNamespace'),
    annotations: strings(own, 'annotations'),
    cgroupPaths: strings(json, 'cgroup_paths'),
    namespacePaths: strings(json, 'namespace_paths'),
    stdio: Object.values(strings(json, 'external_descriptors')),
    startLabels: strings(own, 'startLabels'),
    ...(scope === undefined ? {} : { cgroupScope: objectOf(scope, 'cgroupScope') as never }),
    ...(resctrl === undefined ? {} : { resctrl: resctrlPaths(objectOf(resctrl, 'resctrl')) }),
  };
}

function resctrlPaths(json: Json): ResctrlPaths {
  return {
    group: string(json, 'group'),
    isOwn: flag(json, 'isOwn'),
    ...(json['monitoring'] === undefined ? {} : { monitoring: string(json, 'monitoring') }),
  };
}

function parseJson(text: string): unknown {
  if (text === '') throw new Error('is empty');
  return JSON.parse(text);
}

type Json = Readonly<Record<string, unknown>>;

function objectOf(value: unknown, name: string): Json {
  if (typeof value !== 'object' || value === null) throw new Error(`${name} is no object`);
  return value as Json;
}

function string(json: Json, name: string): string {
  const value = json[name];
  if (typeof value !== 'string') throw new Error(`${name} is no string`);
  return value;
}

function number(json: Json, name: string): number {
  const value = json[name];
  if (!Number.isSafeInteger(value)) throw new Error(`${name} is no integer`);
  return value as number;
}

function flag(json: Json, name: string): boolean {
  const value = json[name];
  if (typeof value !== 'boolean') throw new Error(`${name} is no boolean`);
  return value;
}

/** A map or a list of strings. */
function strings(json: Json, name: string): Readonly<Record<string, string>> {
  const map = objectOf(json[name], name);
  for (const value of Object.values(map)) {
    if (typeof value !== 'string') throw new Error(`${name} has what is no string`);
  }
  return map as Readonly<Record<string, string>>;
}

/** Whether the init process has not ended (a zombie has). */
export function isInitAlive(state: ContainerState): boolean {
  return isAlive(state.pid, state.startTime);
}

/** Whether init still waits for `start`. */
export function waitsForStart(root: string, state: ContainerState): boolean {
  return existsSync(statePath(root, state.id, EXEC_FIFO));
}
