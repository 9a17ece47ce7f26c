/**
 * The public module of the OCI runtime: one function for each command, none of which ends the
 * process, keeps global state or prints. Modules are loaded by the function that needs them, since
 * `tsrunc` starts anew for each command and pays for every module that it loads.
 */
import type { CreateRequest } from './create.ts';
import type { RunRequest } from './run.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import type { ContainerInfo } from './status.ts';

export type { CreateRequest } from './create.ts';
export { listenFdCount } from './preserved-fds.ts';
export type { RunRequest } from './run.ts';
export { defaultRoot, type RuntimeOptions } from './runtime-options.ts';
export type { ContainerInfo } from './status.ts';

/** Makes a container whose process waits for {@link startContainer}; returns its pid. */
export async function createContainer(
  options: RuntimeOptions,
  request: CreateRequest,
): Promise<number> {
  return (await import('./create.ts')).createContainer(options, request);
}

/** The system calls of a create, a line each; nothing is made. */
export async function explainCreate(
  options: RuntimeOptions,
  request: CreateRequest,
): Promise<string[]> {
  return (await import('./create.ts')).explainCreate(options, request);
}

/** Lets the process of a created container execute its program. */
export async function startContainer(options: RuntimeOptions, id: string): Promise<void> {
  (await import('./start.ts')).startContainer(options, id);
}

/** Create and start; in the foreground also wait and delete. Returns the exit code. */
export async function runContainer(options: RuntimeOptions, request: RunRequest): Promise<number> {
  return (await import('./run.ts')).runContainer(options, request);
}

/** Sends a signal, by number or name, to the container's init process. */
export async function killContainer(
  options: RuntimeOptions,
  id: string,
  signal: string,
  all: boolean,
): Promise<void> {
  (await import('./kill.ts')).killContainer(options, id, signal, { all });
}

/** Takes away all that a container holds; `force` kills it first. */
export async function deleteContainer(
  options: RuntimeOptions,
  id: string,
  force: boolean,
): Promise<void> {
  (await import('./delete.ts')).deleteContainer(options, id, { force });
}

/** State of one container. Throws NotFound. */
export async function containerInfo(options: RuntimeOptions, id: string): Promise<ContainerInfo> {
  return (await import('./status.ts')).containerInfo(options, id);
}

/** All containers of the state root, sorted by id. */
export async function listContainers(options: RuntimeOptions): Promise<ContainerInfo[]> {
  return (await import('./status.ts')).listContainers(options);
}
