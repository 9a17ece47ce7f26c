import { join } from 'node:path';
import { TaskCreate } from '../api/generated/containerd.events.ts';
import type { Options } from '../api/generated/containerd.runc.v1.ts';
import type { CreateTaskRequest } from '../api/generated/containerd.task.v2.ts';
import { TsError } from '../errors/index.ts';
import { createMayHang, readBundleConfig } from './bundle-config.ts';
import { writeBundleFiles } from './bundle-files.ts';
import { Container, type RestoreSource, type ShimContext } from './container.ts';
import { MountTable } from './mount-table.ts';
import { OperationRunner } from './operation-runner.ts';
import { RootfsMounter } from './rootfs-mounter.ts';
import { runtimeFor } from './runtime-for.ts';
import { DEFAULT_BINARY, parseRuntimeOptions } from './runtime-options.ts';
import { cgroupOfProcess } from './task-cgroup.ts';
import { withoutCode } from './without-code.ts';

/** containerd's identifiers; the first character keeps an id from being read as a flag. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_.+-]*$/;

export interface CreateOptions {
  readonly context: ShimContext;
  readonly isDebug: boolean;
  /** Aborted when the request is given up; all that was made is then taken away. */
  readonly signal: AbortSignal;
}

/** Serves Create: mounts the root file system and makes the container. All or nothing. */
export async function createContainer(
  request: CreateTaskRequest,
  { context, isDebug, signal }: CreateOptions,
): Promise<Container> {
  const { id, bundle } = request;
  if (!ID.test(id)) throw new TsError('InvalidArgument', `container id ${JSON.stringify(id)}`);
  if (!bundle.startsWith('/')) {
    throw new TsError('InvalidArgument', `bundle ${JSON.stringify(bundle)}: not an absolute path`);
  }
  const options = await parseRuntimeOptions(request.options);
  const config = readBundleConfig(bundle);
  writeBundleFiles(bundle, { ...options, binaryName: options.binaryName || DEFAULT_BINARY });
  const runner = new OperationRunner(context.children, context.ledger);
  const mounts = new MountTable();
  const rootfs = new RootfsMounter(join(bundle, 'rootfs'), request.rootfs, mounts, runner);
  const place = { bundle, namespace: context.namespace, isDebug };
  const runtime = await runtimeFor(options, place, context.children, runner, {
    create: config === undefined || rootfs.mayHang || createMayHang(config, mounts),
    agent: config?.seccompAgent !== undefined && mounts.mayHang(config.seccompAgent),
  });
  const stdio = {
    stdin: request.stdin,
    stdout: request.stdout,
    stderr: request.stderr,
    hasTerminal: request.terminal,
  };
  const container = new Container(
    {
      id,
      bundle,
      options,
      runtime,
      stdio,
      hasOwnPidNamespace: config?.hasOwnPidNamespace ?? false,
      findCgroup: cgroupOfProcess,
      unmountRootfs: () => rootfs.unmount(),
    },
    context,
  );
  try {
    await rootfs.mount(signal);
  } catch (thrown) {
    throw withoutCode('failed to mount rootfs component', thrown);
  }
  try {
    await container.create(restoreOf(request, options, bundle), signal);
  } catch (thrown) {
    const error = TsError.from(thrown);
    try {
      if (request.rootfs.length > 0) await rootfs.unmount();
    } catch (failure) {
      error.cleanup.push(TsError.from(failure));
    }
    throw error;
  }
  context.events.publish('/tasks/create', TaskCreate, {
    containerId: id,
    bundle,
    rootfs: request.rootfs,
    io: {
      stdin: request.stdin,
      stdout: request.stdout,
      stderr: request.stderr,
      terminal: request.terminal,
    },
    checkpoint: request.checkpoint,
    pid: container.init.pid,
  });
  return container;
}

function restoreOf(
  request: CreateTaskRequest,
  options: Options,
  bundle: string,
): RestoreSource | undefined {
  if (request.checkpoint === '') return undefined;
  return {
    imagePath: request.checkpoint,
    workPath: options.criuWorkPath || join(bundle, 'work', 'criu-work'),
  };
}
