import { writeFileSync } from 'node:fs';
import { packAny } from '../api/any.ts';
import { Options as RuncOptions } from '../api/generated/containerd.runc.v1.ts';
import { type Container, Containers } from '../api/generated/containerd.services.containers.v1.ts';
import { Snapshots } from '../api/generated/containerd.services.snapshots.v1.ts';
import { Tasks } from '../api/generated/containerd.services.tasks.v1.ts';
import { TsError } from '../errors/index.ts';
import type { FlagValues } from '../flags/flag-parser.ts';
import { parseJson } from '../oci/index.ts';
import type { Client } from './client.ts';
import type { Descriptor } from './image-content.ts';
import { makeFifos, NO_STDIO, removeFifos, type StdioPaths, TaskStreams } from './task-io.ts';
import { runSession } from './task-session.ts';

/** A container's record. Throws the daemon's NotFound. */
export async function getContainer(client: Client, id: string): Promise<Container> {
  const { container } = await client.service(Containers).get({ id });
  if (container !== undefined) return container;
  throw new TsError('NotFound', `container "${id}": not found`);
}

/** What a container's configuration says of its process. */
export function specProcess(container: Container): Record<string, unknown> {
  const document = `configuration of ${container.id}`;
  const json = container.spec === undefined ? {} : parseJson(container.spec.value, document);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return {};
  const process = json['process'];
  return typeof process === 'object' && process !== null
    ? (process as Record<string, unknown>)
    : {};
}

/** How a task comes to be in which a checkpoint goes on. */
export interface RestoredTask {
  /** CRIU's files; without them the process begins anew. */
  readonly checkpoint: Descriptor | undefined;
}

/**
 * Makes and starts the task of a container, and stays with it unless `--detach` is given; with a restored one only if it
 * has a terminal, as ctr does. Returns the exit code of its process. A task that could not be started is deleted again.
 */
export async function runTask(
  client: Client,
  id: string,
  flags: FlagValues,
  restored?: RestoredTask,
): Promise<number> {
  const container = await getContainer(client, id);
  const hasTerminal = specProcess(container)['terminal'] === true;
  const isDetached = restored === undefined ? flags.bool('detach') : !hasTerminal;
  const checkpoint = checkpointOf(restored);
  const stdio = stdioOf(id, flags, hasTerminal);
  const tasks = client.service(Tasks);
  let isCreated = false;
  const create = async (): Promise<void> => {
    const rootfs = await rootfsOf(client, container);
    const noPivotRoot = flags.bool('no-pivot');
    const options = noPivotRoot ? packAny(RuncOptions, { noPivotRoot }) : undefined;
    const process = { terminal: hasTerminal, ...stdio };
    const { pid } = await tasks.create({
      containerId: id,
      rootfs,
      options,
      checkpoint,
      ...process,
    });
    isCreated = true;
    const pidFile = flags.string('pid-file');
    if (pidFile !== undefined) writeFileSync(pidFile, String(pid));
  };
  const start = async (): Promise<void> => void (await tasks.start({ containerId: id }));
  try {
    if (isDetached || !isRelayed(stdio)) {
      if (isDetached) {
        // The shim waits for readers; once it has its own ends of the FIFOs, those here are needed no more.
        using _streams = isRelayed(stdio) ? new TaskStreams(stdio) : undefined;
        await create();
        await start();
        return 0;
      }
      return await waitWithoutStreams(client, id, create, start);
    }
    const target = { containerId: id, execId: '', stdio, hasTerminal };
    const code = await runSession(client, target, {
      create,
      start,
      delete: async () => void (await tasks.delete({ containerId: id })),
    });
    removeFifos(stdio);
    return code;
  } catch (thrown) {
    if (isCreated) await deleteBroken(client, id);
    if (isRelayed(stdio)) removeFifos(stdio);
    throw thrown;
  }
}

function checkpointOf(restored: RestoredTask | undefined) {
  if (restored?.checkpoint === undefined) return undefined;
  const { mediaType, digest, size } = restored.checkpoint;
  return { mediaType, digest, size: BigInt(size) };
}

/** Whether streams lead here, and not to a log or nowhere. */
export function isRelayed({ stdout }: StdioPaths): boolean {
  return stdout.startsWith('/');
}

/** Where a process's streams lead by the flags. */
export function stdioOf(name: string, flags: FlagValues, hasTerminal: boolean): StdioPaths {
  const uri = flags.string('log-uri');
  if (flags.bool('null-io')) {
    if (hasTerminal)
      throw new TsError('InvalidArgument', 'tty and null-io cannot be used together');
    return NO_STDIO;
  }
  if (uri !== undefined) return { stdin: '', stdout: uri, stderr: hasTerminal ? '' : uri };
  return makeFifos(name, hasTerminal, flags.string('fifo-dir'));
}

async function waitWithoutStreams(
  client: Client,
  containerId: string,
  create: () => Promise<void>,
  start: () => Promise<void>,
): Promise<number> {
  const tasks = client.service(Tasks);
  await create();
  const exit = tasks.wait({ containerId });
  exit.catch(() => undefined); // looked at below, unless the start fails first
  await start();
  const { exitStatus } = await exit;
  await tasks.delete({ containerId });
  return exitStatus;
}

/** The mounts of a container's root; none for one that has a directory of its own. */
async function rootfsOf(client: Client, { snapshotter, snapshotKey }: Container) {
  if (snapshotKey === '') return [];
  const request = { snapshotter, key: snapshotKey };
  return (await client.service(Snapshots).mounts(request)).mounts;
}

/** What has not started is of no use; that it cannot be deleted does not replace the first error. */
async function deleteBroken(client: Client, containerId: string): Promise<void> {
  const tasks = client.service(Tasks);
  await tasks.kill({ containerId, signal: 9, all: true }).catch(() => undefined);
  await tasks.delete({ containerId }).catch(() => undefined);
}
