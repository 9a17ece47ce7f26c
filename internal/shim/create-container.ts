import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TaskCreate } from '../api/generated/containerd.events.ts';
import type { Options } from '../api/generated/containerd.runc.v1.ts';
import type { CreateTaskRequest } from '../api/generated/containerd.task.v2.ts';
import { TsError } from '../errors/index.ts';
import { writeBundleFiles } from './bundle-files.ts';
import { Container, type RestoreSource, type ShimContext } from './container.ts';
import { mountRootfs, unmountRootfs } from './rootfs.ts';
import { runtimeFor } from './runtime-for.ts';
import { DEFAULT_BINARY, parseRuntimeOptions } from './runtime-options.ts';
import { cgroupOfProcess } from './task-cgroup.ts';
import { withoutCode } from './without-code.ts';

/** containerd's identifiers; the first character keeps an id from being read as a flag. */
const ID = /^[A-Za-z0-9][A-Za-z0-9_.+-]*$/;

/** Serves Create: mounts the root file system and makes the container. All or nothing. */
export async function createContainer(
  request: CreateTaskRequest,
  context: ShimContext,
  isDebug: boolean,
): Promise<Container> {
  const { id, bundle } = request;
  if (!ID.test(id)) throw new TsError('InvalidArgument', `container id ${JSON.stringify(id)}`);
  if (!bundle.startsWith('/')) {
    throw new TsError('InvalidArgument', `bundle ${JSON.stringify(bundle)}: not an absolute path`);
  }
  const options = await parseRuntimeOptions(request.options);
  const hasOwnPidNamespace = readHasOwnPidNamespace(bundle);
  writeBundleFiles(bundle, { ...options, binaryName: options.binaryName || DEFAULT_BINARY });
  const rootfs = join(bundle, 'rootfs');
  const runtime = await runtimeFor(
    options,
    { bundle, namespace: context.namespace, isDebug },
    context.children,
    context.ledger,
  );
  const stdio = {
    stdin: request.stdin,
    stdout: request.stdout,
    stderr: request.stderr,
    hasTerminal: request.terminal,
  };
  const container = new Container(
    { id, bundle, options, runtime, stdio, hasOwnPidNamespace, findCgroup: cgroupOfProcess },
    context,
  );
  try {
    mountRootfs(rootfs, request.rootfs);
  } catch (thrown) {
    throw withoutCode('failed to mount rootfs component', thrown);
  }
  try {
    await container.create(restoreOf(request, options, bundle));
  } catch (thrown) {
    const error = TsError.from(thrown);
    try {
      if (request.rootfs.length > 0) unmountRootfs(rootfs);
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

interface NamespaceEntry {
  readonly type?: unknown;
  readonly path?: unknown;
}

/**
 * Whether config.json asks for a new pid namespace. What else it says, and that it is not there or no
 * JSON, is for the runtime to find.
 */
function readHasOwnPidNamespace(bundle: string): boolean {
  let config: unknown;
  try {
    config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'));
  } catch {
    return false; // the runtime will not create it
  }
  const namespaces = (config as { linux?: { namespaces?: unknown } } | null)?.linux?.namespaces;
  if (!Array.isArray(namespaces)) return false;
  return namespaces.some((entry: NamespaceEntry | null) => entry?.type === 'pid' && !entry.path);
}
