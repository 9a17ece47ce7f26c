import { type AnyMessage, unpackAny } from '../api/any.ts';
import { CheckpointOptions, Options } from '../api/generated/containerd.runc.v1.ts';
import type {
  CreateTaskRequest,
  DeleteResponse,
  Tasks,
} from '../api/generated/containerd.services.tasks.v1.ts';
import type { Metric } from '../api/generated/containerd.types.ts';
import { type Process, Status } from '../api/generated/containerd.v1.types.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { nowNs, timestampFromNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { CheckpointStore } from '../images/checkpoint-images.ts';
import type { ContainerRecord, ContainerStore } from '../metadata/container-store.ts';
import { compileFilters } from '../metadata/filters.ts';
import type { Scope } from '../metadata/scope.ts';
import type { ShimAddress } from '../tasks/bootstrap-answer.ts';
import type { Exit, NewTask, Task, TaskManager } from '../tasks/task-manager.ts';
import type { GrpcContext } from './context.ts';
import { descriptorMessage, descriptorOf } from './descriptor-message.ts';
import { required } from './request.ts';

/** How long a shim may take to tell a state: one that hangs must not hang a list of all tasks. */
const STATE_TIMEOUT_MS = 2000;

export interface TasksServiceOptions {
  readonly stateTimeoutMs?: number | undefined;
  /** Keeps checkpoints that the client wants as content. */
  readonly checkpoints: CheckpointStore;
}

/** The tasks service: what `ctr tasks` and, for the process of a container, `ctr run` use. */
export function tasksService(
  containers: ContainerStore,
  tasks: TaskManager,
  { stateTimeoutMs = STATE_TIMEOUT_MS, checkpoints }: TasksServiceOptions,
): ServiceHandlers<typeof Tasks, GrpcContext> {
  const find = async (scope: Scope, id: string): Promise<Task> => {
    try {
      return await tasks.get(scope, id);
    } catch (thrown) {
      containers.get(scope, id); // that there is no container says more than that it has no task
      throw thrown;
    }
  };
  return {
    async create(request, { scope }) {
      const container = containers.get(scope, request.containerId);
      const checkpoint = request.checkpoint && descriptorOf(request.checkpoint);
      const pid = await tasks.create(scope, {
        ...newTask(request, container),
        unpackCheckpoint:
          checkpoint && ((path: string) => checkpoints.unpack(scope, checkpoint, path)),
      });
      return { containerId: request.containerId, pid };
    },
    async start({ containerId, execId }, { scope }) {
      return { pid: await (await find(scope, containerId)).start(execId) };
    },
    async delete({ containerId }, { scope }) {
      return deleteResponse('', await tasks.delete(scope, containerId)); // as containerd: no id
    },
    async deleteProcess({ containerId, execId }, { scope }) {
      const task = await find(scope, containerId);
      return deleteResponse(execId, await task.deleteExec(execId));
    },
    async get({ containerId, execId }, { scope }) {
      return { process: await describe(await find(scope, containerId), execId, stateTimeoutMs) };
    },
    async list(_request, { scope }) {
      const all = await tasks.list(scope);
      const processes = await Promise.all(
        all.map((task) =>
          describe(task, '', stateTimeoutMs).catch((thrown: unknown) => {
            // Between the list and the question tasks come to their end.
            if (thrown instanceof TsError && GONE.has(thrown.kind)) return undefined;
            throw thrown;
          }),
        ),
      );
      return { tasks: processes.filter((process) => process !== undefined) };
    },
    async kill({ containerId, execId, signal, all }, { scope }) {
      await (await find(scope, containerId)).kill(execId, signal, all);
      return {};
    },
    async exec({ containerId, execId, spec, stdin, stdout, stderr, terminal }, { scope }) {
      if (execId === '') throw new TsError('InvalidArgument', 'exec id cannot be empty');
      const task = await find(scope, containerId);
      await task.exec(execId, spec, { stdin, stdout, stderr, terminal });
      return {};
    },
    async resizePty({ containerId, execId, width, height }, { scope }) {
      await (await find(scope, containerId)).resizePty(execId, width, height);
      return {};
    },
    async closeIO({ containerId, execId, stdin }, { scope }) {
      const task = await find(scope, containerId);
      if (stdin) await task.closeStdin(execId);
      return {};
    },
    async pause({ containerId }, { scope }) {
      await (await find(scope, containerId)).pause();
      return {};
    },
    async resume({ containerId }, { scope }) {
      await (await find(scope, containerId)).resume();
      return {};
    },
    async listPids({ containerId }, { scope }) {
      return { processes: await (await find(scope, containerId)).pids() };
    },
    async checkpoint({ containerId, options }, { scope }) {
      const task = await find(scope, containerId);
      const { imagePath = '' } = unpackOptions(options, CheckpointOptions) ?? {};
      if (imagePath !== '') {
        await task.checkpoint(imagePath, options);
        return {};
      }
      const { spec } = containers.get(scope, containerId);
      await using directory = await checkpoints.directory();
      await task.checkpoint(directory.path, options);
      const stored = await checkpoints.save(scope, directory.path, required(spec, 'spec'));
      return { descriptors: stored.map(descriptorMessage) };
    },
    async update({ containerId, resources, annotations }, { scope }) {
      await (await find(scope, containerId)).update(resources, annotations);
      return {};
    },
    async metrics({ filters }, { scope }) {
      const matches = compileFilters(filters);
      const all = (await tasks.list(scope)).filter((task) =>
        matches(([field]) => fieldOf(task, field)),
      );
      const metrics = await Promise.all(all.map(measure));
      return { metrics: metrics.filter((metric) => metric !== undefined) };
    },
    async wait({ containerId, execId }, { scope, signal }) {
      const { status, at } = await (await find(scope, containerId)).wait(execId, signal);
      return { exitStatus: status, exitedAt: timeOf(at) };
    },
  };
}

const GONE: ReadonlySet<string> = new Set(['NotFound', 'Unavailable']);

function newTask(request: CreateTaskRequest, container: ContainerRecord): NewTask {
  const { stdin, stdout, stderr, terminal, rootfs, options, runtimePath } = request;
  const hasOptions = options !== undefined && options.value.length > 0;
  const chosen = hasOptions ? options : container.runtime.options;
  return {
    id: container.id,
    runtime: runtimePath === '' ? container.runtime.name : runtimePath,
    spec: container.spec,
    rootfs,
    io: { stdin, stdout, stderr, terminal },
    options: chosen,
    checkpoint: unpackOptions(chosen, Options)?.criuImagePath ?? '',
    sandbox: container.sandbox,
    shim: shimOf(request),
  };
}

/** The address of a shim that takes the task: `unix://PATH`, or `ttrpc+unix://PATH` as sandbox controllers give it. */
function shimOf({ taskApiAddress, taskApiVersion }: CreateTaskRequest): ShimAddress | undefined {
  if (taskApiAddress === '') return undefined;
  const [, protocol = 'ttrpc', address = taskApiAddress] =
    /^(?:([a-z]+)\+)?(.*)$/s.exec(taskApiAddress) ?? [];
  return { version: taskApiVersion === 0 ? 2 : taskApiVersion, address, protocol };
}

/** Options of a known type; those of other runtimes are theirs to understand. */
function unpackOptions<T extends object>(
  any: AnyMessage | undefined,
  type: Parameters<typeof unpackAny<T>>[1],
): T | undefined {
  try {
    return unpackAny(any, type);
  } catch (cause) {
    throw new TsError('InvalidArgument', `runtime options: ${(cause as Error).message}`, { cause });
  }
}

async function describe(
  task: Task,
  execId: string,
  stateTimeoutMs: number,
): Promise<Init<Process>> {
  const id = execId === '' ? task.id : execId;
  try {
    const { pid, status, stdin, stdout, stderr, terminal, exitStatus, exitedAt } = await task.state(
      execId,
      stateTimeoutMs,
    );
    const io = { stdin, stdout, stderr, terminal };
    return { containerId: task.id, id, pid, status, ...io, exitStatus, exitedAt };
  } catch (thrown) {
    const error = TsError.from(thrown);
    if (GONE.has(error.kind)) throw error;
    // There is a task, but its shim does not answer: that is what the client should see.
    return { containerId: task.id, id, status: Status.UNKNOWN };
  }
}

async function measure(task: Task): Promise<Init<Metric> | undefined> {
  const timestamp = timestampFromNs(nowNs());
  try {
    return { timestamp, id: task.id, data: await task.stats() };
  } catch {
    return undefined; // a task that has ended, or whose cgroup is gone, has no figures
  }
}

function fieldOf(task: Task, field: string | undefined): string | undefined {
  switch (field) {
    case 'id':
      return task.id;
    case 'namespace':
      return task.namespace;
    case 'runtime':
      return task.runtime;
    default:
      return undefined;
  }
}

function deleteResponse(id: string, { pid, status, at }: Exit): Init<DeleteResponse> {
  return { id, pid, exitStatus: status, exitedAt: timeOf(at) };
}

function timeOf(at: bigint | undefined) {
  return at === undefined ? undefined : timestampFromNs(at);
}
