import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packAny } from '../api/any.ts';
import { CheckpointOptions, Options } from '../api/generated/containerd.runc.v1.ts';
import { Status } from '../api/generated/containerd.v1.types.ts';
import { TsError } from '../errors/index.ts';
import type { CheckpointStore } from '../images/checkpoint-images.ts';
import type { ContainerRecord, ContainerStore } from '../metadata/container-store.ts';
import type { NewTask, Task, TaskManager } from '../tasks/task-manager.ts';
import type { GrpcContext } from './context.ts';
import { tasksService } from './tasks.ts';

const context = {
  scope: { namespace: 'n' },
  namespace: 'n',
  metadata: new Map(),
  signal: new AbortController().signal,
} as GrpcContext;

const DIGEST = `sha256:${'1'.repeat(64)}` as const;
const runtimeOptions = packAny(Options, { criuImagePath: '/checkpoint' });

const containers = {
  get(_scope: unknown, id: string) {
    if (id === 'none') {
      throw new TsError('NotFound', 'container "none" in namespace "n": not found');
    }
    return {
      id,
      runtime: { name: 'io.containerd.runc.v2', options: runtimeOptions },
      spec: { typeUrl: 'spec', value: Buffer.from('{}') },
      sandbox: 'pod',
    } as unknown as ContainerRecord;
  },
} as Partial<ContainerStore> as ContainerStore;

/** A manager whose tasks are these, and what it was asked to create. */
function service(tasks: Record<string, Partial<Task>> = {}) {
  const created: NewTask[] = [];
  const manager = {
    async create(_scope: unknown, task: NewTask) {
      created.push(task);
      return 7;
    },
    async get(_scope: unknown, id: string) {
      const task = Object.hasOwn(tasks, id) ? tasks[id] : undefined;
      if (task === undefined) throw new TsError('NotFound', `task ${id} not found`);
      return { id, namespace: 'n', ...task } as Task;
    },
    async list() {
      return Object.entries(tasks).map(([id, task]) => ({ id, namespace: 'n', ...task }) as Task);
    },
  } as Partial<TaskManager> as TaskManager;
  const kept: string[] = [];
  const directory = async () => ({
    path: '/kept',
    [Symbol.asyncDispose]: async () => void kept.push('gone'),
  });
  const checkpoints: CheckpointStore = {
    directory,
    async save(_scope, path, { typeUrl }) {
      kept.push(`save ${path} ${typeUrl}`);
      return [{ mediaType: 'm', digest: DIGEST, sizeBytes: 3, annotations: new Map() }];
    },
    async unpack(_scope, { digest }, path) {
      kept.push(`unpack ${digest} to ${path}`);
    },
  };
  return { handlers: tasksService(containers, manager, { checkpoints }), created, kept };
}

const createRequest = (more: object) => ({
  containerId: 'one',
  rootfs: [],
  stdin: '',
  stdout: '/out',
  stderr: '',
  terminal: true,
  checkpoint: undefined,
  options: undefined,
  runtimePath: '',
  taskApiAddress: '',
  taskApiVersion: 0,
  ...more,
});

test('create: runtime, options, spec and sandbox are those of the container', async () => {
  const { handlers, created } = service();
  assert.deepEqual(await handlers.create(createRequest({}), context), {
    containerId: 'one',
    pid: 7,
  });
  assert.deepEqual(created, [
    {
      id: 'one',
      runtime: 'io.containerd.runc.v2',
      spec: { typeUrl: 'spec', value: Buffer.from('{}') },
      rootfs: [],
      io: { stdin: '', stdout: '/out', stderr: '', terminal: true },
      options: runtimeOptions,
      checkpoint: '/checkpoint',
      sandbox: 'pod',
      shim: undefined,
      unpackCheckpoint: undefined,
    },
  ]);
});

test('create: options and path of the request go before those of the container', async () => {
  const { handlers, created } = service();
  const options = { typeUrl: 'other.Options', value: Buffer.from([1]) };
  await handlers.create(createRequest({ options, runtimePath: '/opt/shim' }), context);
  const empty = { typeUrl: 'other.Options', value: new Uint8Array(0) };
  await handlers.create(createRequest({ options: empty }), context);
  assert.deepEqual(
    created.map(({ options: chosen, runtime, checkpoint }) => [chosen, runtime, checkpoint]),
    [
      [options, '/opt/shim', ''],
      [runtimeOptions, 'io.containerd.runc.v2', '/checkpoint'],
    ],
  );
});

test('create: a checkpoint image is unpacked where the task manager says', async () => {
  const { handlers, created, kept } = service();
  const checkpoint = { mediaType: '', digest: DIGEST, size: 0n, annotations: new Map() };
  await handlers.create(createRequest({ checkpoint }), context);
  await created[0]?.unpackCheckpoint?.('/bundle');
  assert.deepEqual(kept, [`unpack ${DIGEST} to /bundle`]);
  const bad = { ...checkpoint, digest: 'x' };
  await assert.rejects(handlers.create(createRequest({ checkpoint: bad }), context), {
    kind: 'InvalidArgument',
  });
});

test('checkpoint: to a path of the client, or into the content store', async () => {
  const paths: string[] = [];
  const task = { checkpoint: async (path: string) => void paths.push(path) };
  const { handlers, kept } = service({ one: task });
  const request = { containerId: 'one', parentCheckpoint: '', options: undefined };
  const answer = await handlers.checkpoint(request, context);
  assert.deepEqual(paths, ['/kept']);
  assert.deepEqual(kept, ['save /kept spec', 'gone']);
  assert.deepEqual(answer.descriptors, [
    { mediaType: 'm', digest: DIGEST, size: 3n, annotations: new Map() },
  ]);
  const options = packAny(CheckpointOptions, { imagePath: '/theirs' });
  assert.deepEqual(await handlers.checkpoint({ ...request, options }, context), {});
  assert.deepEqual(paths, ['/kept', '/theirs']);
});

test('create: the address of a shim that the client names', async () => {
  const { handlers, created } = service();
  for (const [taskApiAddress, taskApiVersion] of [
    ['unix:///x', 0],
    ['ttrpc+unix:///run/x', 3],
    ['grpc+vsock://1:2', 3],
  ] as const) {
    await handlers.create(createRequest({ taskApiAddress, taskApiVersion }), context);
  }
  assert.deepEqual(
    created.map(({ shim }) => shim),
    [
      { version: 2, address: 'unix:///x', protocol: 'ttrpc' },
      { version: 3, address: 'unix:///run/x', protocol: 'ttrpc' },
      { version: 3, address: 'vsock://1:2', protocol: 'grpc' },
    ],
  );
});

test('create: options that are damaged are refused', async () => {
  const { handlers } = service();
  const options = { typeUrl: 'containerd.runc.v1.Options', value: Buffer.from([0x1a, 0x7f]) };
  await assert.rejects(handlers.create(createRequest({ options }), context), {
    kind: 'InvalidArgument',
    message: /^runtime options: /,
  });
});

for (const [id, message] of [
  ['none', 'container "none" in namespace "n": not found'],
  ['idle', 'task idle not found'],
] as const) {
  test(`get: of "${id}": ${message}`, async () => {
    const { handlers } = service();
    await assert.rejects(handlers.get({ containerId: id, execId: '' }, context), {
      kind: 'NotFound',
      message,
    });
  });
}

test('list: a task that is gone is left out, one that does not answer is UNKNOWN', async () => {
  const running = { pid: 5, status: Status.RUNNING, stdin: '', stdout: '', stderr: '' };
  const { handlers } = service({
    good: { state: async () => running as never },
    gone: { state: () => Promise.reject(new TsError('NotFound', 'gone')) },
    dead: { state: () => Promise.reject(new TsError('Unavailable', 'dead')) },
    slow: { state: () => Promise.reject(new TsError('DeadlineExceeded', 'slow')) },
  });
  const { tasks } = await handlers.list({ filter: '' }, context);
  assert.deepEqual(
    tasks?.map(({ id, pid, status }) => [id, pid, status]),
    [
      ['good', 5, Status.RUNNING],
      ['slow', undefined, Status.UNKNOWN],
    ],
  );
});

test('metrics: filters choose by id; a task without figures is left out', async () => {
  const figures = { typeUrl: 'm', value: new Uint8Array(0) };
  const { handlers } = service({
    one: { stats: async () => figures },
    two: { stats: async () => figures },
    ended: { stats: () => Promise.reject(new Error('no cgroup')) },
  });
  const ids = async (filters: string[]) =>
    (await handlers.metrics({ filters }, context)).metrics?.map(({ id }) => id);
  assert.deepEqual(await ids([]), ['one', 'two']);
  assert.deepEqual(await ids(['id==two']), ['two']);
  assert.deepEqual(await ids(['id==two', 'id==one,namespace==n']), ['one', 'two']);
  assert.deepEqual(await ids(['namespace==other']), []);
});

test('exec: an empty id is refused', async () => {
  const { handlers } = service({ one: {} });
  const request = {
    ...{ containerId: 'one', execId: '', spec: undefined },
    ...{ stdin: '', stdout: '', stderr: '', terminal: false },
  };
  await assert.rejects(handlers.exec(request, context), {
    kind: 'InvalidArgument',
    message: 'exec id cannot be empty',
  });
});
