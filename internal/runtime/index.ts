/**
 * The public module of the OCI runtime: one function for each command, none of which ends the
 * process, keeps global state or prints. Modules are loaded by the function that needs them, since
 * `tsrunc` starts anew for each command and pays for every module that it loads.
 */

import type { TsError } from '../errors/index.ts';
import type { Features, LinuxResources } from '../oci/index.ts';
import type { CheckpointRequest } from './checkpoint.ts';
import type { CreateRequest } from './create.ts';
import type { ContainerEvent } from './events.ts';
import type { ExecRequest } from './exec.ts';
import type { SchemaOptions } from './intel-rdt.ts';
import type { ResourceOptions } from './resource-options.ts';
import type { RestoreRequest } from './restore.ts';
import type { RunRequest } from './run.ts';
import { perform, type RuntimeOptions } from './runtime-options.ts';
import type { ContainerInfo } from './status.ts';
import type { TraceFile } from './trace-file.ts';

export type { CheckpointRequest } from './checkpoint.ts';
export type { CreateRequest } from './create.ts';
export type { ContainerEvent } from './events.ts';
export type { ExecRequest } from './exec.ts';
export { listenFdCount } from './preserved-fds.ts';
export type { ResourceOptions } from './resource-options.ts';
export type { RestoreRequest } from './restore.ts';
export type { RunRequest } from './run.ts';
export { defaultRoot, type RuntimeOptions } from './runtime-options.ts';
export type { ContainerInfo } from './status.ts';
export type { TraceFile } from './trace-file.ts';

/** Makes a container whose process waits for {@link startContainer}; returns its pid. */
export async function createContainer(
  options: RuntimeOptions,
  request: CreateRequest,
): Promise<number> {
  return (await import('./cgroup-driver.ts')).createContainer(options, request);
}

/** Loads what {@link createContainer}, {@link startContainer}, {@link startExec} and the end of a container need. */
export async function loadCommands(): Promise<void> {
  await Promise.all([
    import('./cgroup-driver.ts'),
    import('./start.ts'),
    import('./exec.ts'),
    import('./kill.ts'),
    import('./delete.ts'),
  ]);
}

/** The system calls of a create, a line each; nothing is made. */
export async function explainCreate(
  options: RuntimeOptions,
  request: CreateRequest,
): Promise<string[]> {
  return (await import('./cgroup-driver.ts')).explainCreate(options, request);
}

/**
 * From now on records what this process and its children do to make a container or an exec; disposed,
 * or told to write, it puts that into the file. Throws if the file cannot be opened.
 */
export async function startTrace(path: string): Promise<TraceFile> {
  const { TraceFile: File } = await import('./trace-file.ts');
  return new File(path);
}

/** Lets the process of a created container execute its program. */
export async function startContainer(options: RuntimeOptions, id: string): Promise<void> {
  await perform(
    options,
    (await import('./start.ts')).startContainer(options, id, options.perform === undefined),
  );
}

/** Create and start; in the foreground also wait and delete. Returns the exit code. */
export async function runContainer(options: RuntimeOptions, request: RunRequest): Promise<number> {
  return (await import('./run.ts')).runContainer(options, request);
}

/** Writes a running container into files; unless told otherwise it is gone then. */
export async function checkpointContainer(
  options: RuntimeOptions,
  request: CheckpointRequest,
): Promise<void> {
  const operation = (await import('./checkpoint.ts')).checkpointContainer(options, request);
  const scope = await perform(options, operation);
  if (scope !== undefined) await (await import('./cgroup-driver.ts')).endScope(scope);
}

/** Makes a container of files that a checkpoint wrote. Returns the exit code as {@link runContainer}. */
export async function restoreContainer(
  options: RuntimeOptions,
  request: RestoreRequest,
): Promise<number> {
  return (await import('./restore.ts')).restoreContainer(options, request);
}

/** As {@link restoreContainer}, detached. Returns the pid. */
export async function restoreDetached(
  options: RuntimeOptions,
  request: RestoreRequest,
): Promise<number> {
  return (await import('./restore.ts')).restoreDetached(options, request);
}

/** Sends a signal, by number or name, to the container's init process. */
export async function killContainer(
  options: RuntimeOptions,
  id: string,
  signal: string,
  all: boolean,
): Promise<void> {
  const operation = (await import('./kill.ts')).killContainer(options, id, signal, { all });
  await perform(options, operation);
}

/** Takes away all that a container holds; `force` kills it first. */
export async function deleteContainer(
  options: RuntimeOptions,
  id: string,
  force: boolean,
): Promise<void> {
  const operation = (await import('./delete.ts')).deleteContainer(options, id, { force });
  const scope = await perform(options, operation);
  if (scope !== undefined) await (await import('./cgroup-driver.ts')).endScope(scope);
}

/** State of one container. Throws NotFound. */
export async function containerInfo(options: RuntimeOptions, id: string): Promise<ContainerInfo> {
  return (await import('./status.ts')).containerInfo(options, id);
}

/** All containers of the state root, sorted by id; `onUnreadable` gets those that cannot be read. */
export async function listContainers(
  options: RuntimeOptions,
  onUnreadable: (id: string, error: TsError) => void,
): Promise<ContainerInfo[]> {
  return (await import('./status.ts')).listContainers(options, onUnreadable);
}

/** Runs another process in a container; in the foreground returns its exit code. */
export async function execInContainer(
  options: RuntimeOptions,
  request: ExecRequest,
): Promise<number> {
  await prepareExec(options, request.id);
  return (await import('./exec-run.ts')).execInContainer(options, request);
}

/** Few are not root: the others do not load what that needs. */
async function prepareExec(options: RuntimeOptions, id: string): Promise<void> {
  if (process.geteuid?.() === 0) return;
  await (await import('./cgroup-driver.ts')).prepareExec(options, id);
}

/** Starts a process in a container as a child of this process; returns its pid. */
export async function startExec(options: RuntimeOptions, request: ExecRequest): Promise<number> {
  await prepareExec(options, request.id);
  return perform(options, (await import('./exec.ts')).startExec(options, request));
}

/** The system calls of an exec, a line each. */
export async function explainExec(
  options: RuntimeOptions,
  request: ExecRequest,
): Promise<string[]> {
  return perform(options, (await import('./exec.ts')).explainExec(options, request));
}

export async function pauseContainer(options: RuntimeOptions, id: string): Promise<void> {
  await perform(options, (await import('./pause.ts')).pauseContainer(options, id));
}

export async function resumeContainer(options: RuntimeOptions, id: string): Promise<void> {
  (await import('./pause.ts')).resumeContainer(options, id);
}

/** Pids of a container's processes, as this process sees them. */
export async function containerPids(options: RuntimeOptions, id: string): Promise<number[]> {
  return (await import('./ps.ts')).containerPids(options, id);
}

/** What ps(1) prints for a container's processes. */
export async function containerProcessTable(
  options: RuntimeOptions,
  id: string,
  args: readonly string[],
): Promise<string> {
  return (await import('./ps.ts')).containerProcessTable(options, id, args);
}

/** Reads a resources document; `-` is stdin. */
export async function readResources(path: string): Promise<LinuxResources> {
  return (await import('./update.ts')).readResources(path);
}

/** As {@link readResources}, of a text. */
export async function resourcesOfText(text: string): Promise<LinuxResources> {
  return (await import('./update.ts')).resourcesOfText(text);
}

/** The limits that options of `update` name. */
export async function resourcesOfOptions(options: ResourceOptions): Promise<LinuxResources> {
  return (await import('./resource-options.ts')).resourcesOfOptions(options);
}

export async function updateContainer(
  options: RuntimeOptions,
  id: string,
  resources: LinuxResources,
  schemas: SchemaOptions = {},
): Promise<void> {
  if (Object.keys(schemas).length > 0) {
    (await import('./intel-rdt.ts')).refuseSchemas(options, schemas);
  }
  await (await import('./cgroup-driver.ts')).updateScope(options, id, resources);
  const operation = (await import('./update.ts')).updateContainer(options, id, resources, schemas);
  await perform(options, operation);
}

/** Statistics of a container, now. */
export async function statisticsEvent(
  options: RuntimeOptions,
  id: string,
): Promise<ContainerEvent> {
  return (await import('./events.ts')).statisticsEvent(options, id);
}

/** Events until the container's init ends. */
export async function watchEvents(
  options: RuntimeOptions,
  id: string,
  intervalMs: number,
  onEvent: (event: ContainerEvent) => void,
): Promise<void> {
  return (await import('./events.ts')).watchEvents(options, id, intervalMs, onEvent);
}

/** Writes a config.json to start from. */
export async function writeSpecFile(bundle: string, options: { rootless: boolean }): Promise<void> {
  (await import('./spec-file.ts')).writeSpecFile(bundle, options);
}

export async function runtimeFeatures(version: string): Promise<Features> {
  return (await import('./features.ts')).runtimeFeatures(version);
}

/** JSON with 64-bit integers as they are. */
export async function formatJson(value: unknown, indent?: string | number): Promise<string> {
  return (await import('../oci/index.ts')).formatJson(value, indent);
}
