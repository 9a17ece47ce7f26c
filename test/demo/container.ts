// One container through the API: create, start, exec, wait, delete, and its configuration.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packAny } from '../../internal/api/any.ts';
import { Options } from '../../internal/api/generated/containerd.runc.v1.ts';
import { Containers } from '../../internal/api/generated/containerd.services.containers.v1.ts';
import { Leases } from '../../internal/api/generated/containerd.services.leases.v1.ts';
import { Snapshots } from '../../internal/api/generated/containerd.services.snapshots.v1.ts';
import { Tasks } from '../../internal/api/generated/containerd.services.tasks.v1.ts';
import { defaultSpec } from '../../internal/oci/index.ts';
import { formatJson } from '../../internal/oci/json.ts';
import type { GrpcConnection } from '../fixtures/grpc-client.ts';

const SPEC_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';
const PROCESS_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Process';

/** What a container is made from. */
export interface ContainerPlan {
  readonly id: string;
  readonly image: string;
  readonly snapshotter: string;
  /** The image's topmost snapshot. */
  readonly parent: string;
  readonly runtime: string;
  readonly args: readonly string[];
  readonly cgroupsPath: string;
  /** The runtime's executable, when it is not the one that the shim takes by itself. */
  readonly runtimeBinary?: string | undefined;
  /** A private directory: output goes to files in it, and the runtime keeps its state there. */
  readonly workspace: string;
}

/** Creates and starts the container; returns the process id of its first process. */
export async function startContainer(
  connection: GrpcConnection,
  plan: ContainerPlan,
): Promise<number> {
  const leases = connection.service(Leases);
  const { lease } = await leases.create({ id: `run-${process.pid}` });
  try {
    return await startUnderLease(connection, plan, [['containerd-lease', lease?.id ?? '']]);
  } finally {
    await leases.delete({ id: lease?.id ?? '' });
  }
}

/** Until the container has a record that names it, its snapshot is the collector's unless a lease holds it. */
async function startUnderLease(
  connection: GrpcConnection,
  plan: ContainerPlan,
  metadata: [string, string][],
): Promise<number> {
  const { id, snapshotter, parent } = plan;
  const snapshots = connection.service(Snapshots);
  const { mounts } = await snapshots.prepare({ snapshotter, key: id, parent }, { metadata });
  const options = packAny(Options, {
    root: join(plan.workspace, 'runtime'),
    binaryName: plan.runtimeBinary,
  });
  await connection.service(Containers).create({
    container: {
      id,
      image: plan.image,
      runtime: { name: plan.runtime, options },
      spec: { typeUrl: SPEC_TYPE, value: Buffer.from(formatJson(containerSpec(plan))) },
      snapshotter,
      snapshotKey: id,
    },
  });
  const tasks = connection.service(Tasks);
  const stdout = outputUri(plan.workspace, 'output');
  await tasks.create({ containerId: id, rootfs: mounts, stdout, stderr: stdout, options });
  const { pid } = await tasks.start({ containerId: id });
  return pid;
}

/** Runs a command in the container and returns what it printed and its exit status. */
export async function execInContainer(
  connection: GrpcConnection,
  plan: ContainerPlan,
  execId: string,
  args: readonly string[],
): Promise<{ output: string; status: number }> {
  const tasks = connection.service(Tasks);
  const containerId = plan.id;
  const stdout = outputUri(plan.workspace, execId);
  const spec = { ...containerSpec(plan).process, args };
  await tasks.exec({
    containerId,
    execId,
    stdout,
    stderr: stdout,
    spec: { typeUrl: PROCESS_TYPE, value: Buffer.from(formatJson(spec)) },
  });
  const ended = tasks.wait({ containerId, execId });
  ended.catch(() => undefined); // awaited below, unless the start fails first
  await tasks.start({ containerId, execId });
  const { exitStatus } = await ended;
  await tasks.deleteProcess({ containerId, execId });
  return { output: outputOf(plan.workspace, execId), status: exitStatus };
}

/**
 * Removes what the container and its task left. The snapshot goes before the container, as ctr has it: one that no container
 * names is the collector's, who may come first.
 */
export async function deleteContainer(
  connection: GrpcConnection,
  plan: ContainerPlan,
): Promise<void> {
  await connection.service(Tasks).delete({ containerId: plan.id });
  await connection.service(Snapshots).remove({ snapshotter: plan.snapshotter, key: plan.id });
  await connection.service(Containers).delete({ id: plan.id });
}

/** What a process of the container has printed so far. */
export function outputOf(workspace: string, name: string): string {
  const path = join(workspace, `${name}.log`);
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

function outputUri(workspace: string, name: string): string {
  return `file://${join(workspace, `${name}.log`)}`;
}

function containerSpec(plan: ContainerPlan) {
  const spec = defaultSpec(existsSync('/sys/fs/cgroup/cgroup.controllers'));
  return {
    ...spec,
    process: {
      ...spec.process,
      terminal: false,
      args: [...plan.args],
      env: ['PATH=/bin:/usr/bin', 'HOME=/root'],
      // The default of engines; this machine's hard limit may be lower, and raising it takes a capability.
      rlimits: [],
    },
    root: { path: 'rootfs', readonly: false },
    hostname: 'demo',
    linux: { ...spec.linux, cgroupsPath: plan.cgroupsPath },
  };
}
