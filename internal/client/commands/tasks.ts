import { randomBytes } from 'node:crypto';
import { packAny, unpackAny } from '../../api/any.ts';
import { CheckpointOptions, ProcessDetails } from '../../api/generated/containerd.runc.v1.ts';
import type { Container } from '../../api/generated/containerd.services.containers.v1.ts';
import { Snapshots } from '../../api/generated/containerd.services.snapshots.v1.ts';
import { Tasks } from '../../api/generated/containerd.services.tasks.v1.ts';
import { type ProcessInfo, Status } from '../../api/generated/containerd.v1.types.ts';
import { TsError } from '../../errors/index.ts';
import type { FlagSpecs, FlagValues } from '../../flags/flag-parser.ts';
import { parseSignal } from '../../linux/constants/signal.ts';
import { formatJson } from '../../oci/index.ts';
import { filesOf } from '../../rootfs/layered-files.ts';
import type { Client } from '../client.ts';
import type { CommandContext, CommandGroup } from '../command.ts';
import { resolveUser } from '../image-user.ts';
import { argument } from '../labels.ts';
import { WIDE } from '../table.ts';
import { getContainer, isRelayed, runTask, specProcess, stdioOf } from '../task-create.ts';
import { removeDetachedFifos, removeFifos, type StdioPaths, TaskStreams } from '../task-io.ts';
import { runSession } from '../task-session.ts';
import { statusName } from '../task-status.ts';
import { METRICS } from './tasks-metrics.ts';

const ID_MISSING = 'container id must be provided';
const PROCESS_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Process';
const STOP_SIGNAL_LABEL = 'io.containerd.image.config.stop-signal';

const IO_FLAGS: FlagSpecs = {
  'fifo-dir': { type: 'string', usage: 'directory for the FIFOs of input and output' },
  'log-uri': {
    type: 'string',
    usage: 'where the shim writes output: file://PATH, binary://PATH, cri://PATH',
  },
  detach: { type: 'bool', short: 'd', usage: 'return when the process runs' },
};
const EXEC_ID: FlagSpecs = { 'exec-id': { type: 'string', usage: 'an additional process' } };

/** `tsctr tasks`. */
export const TASKS: CommandGroup = {
  name: 'tasks',
  aliases: ['t', 'task'],
  summary: 'what runs in containers',
  commands: [
    {
      name: 'attach',
      summary: 'connect to input and output of a task until it ends',
      usage: 'CONTAINER',
      objects: ['task'],
      run: attach,
    },
    {
      name: 'checkpoint',
      summary: 'write the state of a task by CRIU',
      usage: 'CONTAINER',
      objects: ['task'],
      flags: {
        exit: { type: 'bool', usage: 'end the task' },
        'image-path': {
          type: 'string',
          usage: 'directory for the image files, instead of the content store',
        },
        'work-path': { type: 'string', usage: "directory for CRIU's log and work files" },
      },
      async run({ client, args, flags, output }) {
        const containerId = argument(args, 0, ID_MISSING);
        await getContainer(client, containerId);
        const imagePath = flags.string('image-path') ?? '';
        const options = packAny(CheckpointOptions, {
          exit: flags.bool('exit'),
          imagePath,
          workPath: flags.string('work-path') ?? '',
        });
        const { descriptors } = await client.service(Tasks).checkpoint({ containerId, options });
        if (output.format === 'json') output.json(descriptors);
        else for (const { digest } of descriptors) output.line(digest);
      },
    },
    {
      name: 'delete',
      aliases: ['del', 'remove', 'rm'],
      summary: 'delete tasks that have ended',
      usage: 'CONTAINER...',
      objects: ['task'],
      flags: { force: { type: 'bool', short: 'f', usage: 'kill them first' }, ...EXEC_ID },
      run: remove,
    },
    {
      name: 'exec',
      summary: 'run another process in a container',
      usage: 'CONTAINER CMD [ARG...]',
      objects: ['task'],
      takesProgram: true,
      flags: {
        cwd: { type: 'string', usage: 'working directory' },
        tty: { type: 'bool', short: 't', usage: 'allocate a terminal' },
        ...IO_FLAGS,
        'exec-id': { type: 'string', usage: 'its id (default: a new one)' },
        user: { type: 'string', usage: 'NAME|UID[:GROUP|GID]' },
      },
      run: exec,
    },
    {
      name: 'list',
      aliases: ['ls'],
      summary: 'list tasks',
      flags: { quiet: { type: 'bool', short: 'q', usage: 'print ids only' } },
      async run({ client, flags, output }) {
        const { tasks } = await client.service(Tasks).list({});
        if (flags.bool('quiet')) {
          for (const { id } of tasks) output.line(id);
          return;
        }
        // Like ctr, whose rows do not pad their last cell.
        output.table({
          header: ['TASK', 'PID', 'STATUS', ''],
          rows: tasks.map(({ id, pid, status }) => [id, `${pid}`, statusName(status)]),
          style: WIDE,
          records: tasks.map((task) => ({ ...task, status: statusName(task.status) })),
        });
      },
    },
    {
      name: 'kill',
      summary: "send a signal to a task (default: the image's stop signal, else SIGTERM)",
      usage: 'CONTAINER',
      objects: ['task'],
      flags: {
        signal: { type: 'string', short: 's', usage: 'name or number' },
        ...EXEC_ID,
        all: { type: 'bool', short: 'a', usage: 'to all processes of the container' },
      },
      async run({ client, args, flags }) {
        const containerId = argument(args, 0, ID_MISSING);
        const given = flags.string('signal');
        if (given !== undefined) signalOf(given);
        const container = await getContainer(client, containerId);
        const signal = signalOf(given ?? container.labels.get(STOP_SIGNAL_LABEL) ?? 'SIGTERM');
        const execId = flags.string('exec-id') ?? '';
        await client.service(Tasks).kill({ containerId, execId, signal, all: flags.bool('all') });
      },
    },
    METRICS,
    {
      name: 'pause',
      summary: 'freeze all processes of a task',
      usage: 'CONTAINER',
      objects: ['task'],
      async run({ client, args }) {
        const containerId = argument(args, 0, ID_MISSING);
        await getContainer(client, containerId);
        await client.service(Tasks).pause({ containerId });
      },
    },
    {
      name: 'ps',
      summary: 'list the processes of a task',
      usage: 'CONTAINER',
      objects: ['task'],
      async run({ client, args, output }) {
        const containerId = argument(args, 0, ID_MISSING);
        await getContainer(client, containerId);
        const { processes } = await client.service(Tasks).listPids({ containerId });
        output.table({
          header: ['PID', 'INFO'],
          rows: processes.map((each) => [`${each.pid}`, processInfo(each)]),
          style: { minWidth: 1, padding: 4 },
          records: processes.map(({ pid, info }) => ({ pid, execId: execIdOf(info) })),
        });
      },
    },
    {
      name: 'resume',
      summary: 'let a frozen task go on',
      usage: 'CONTAINER',
      objects: ['task'],
      async run({ client, args }) {
        const containerId = argument(args, 0, ID_MISSING);
        await getContainer(client, containerId);
        await client.service(Tasks).resume({ containerId });
      },
    },
    {
      name: 'start',
      summary: 'start a container that has been created',
      usage: 'CONTAINER',
      objects: ['container'],
      flags: {
        'no-pivot': { type: 'bool', usage: 'move the root file system instead of pivot_root' },
        'null-io': { type: 'bool', usage: 'neither input nor output' },
        'pid-file': { type: 'string', usage: 'file to write the process id to' },
        ...IO_FLAGS,
      },
      async run({ client, args, flags, exitWith }) {
        exitWith(await runTask(client, argument(args, 0, ID_MISSING), flags));
      },
    },
  ],
};

function signalOf(text: string): number {
  const signal = parseSignal(text);
  if (signal === undefined) throw new TsError('InvalidArgument', `invalid signal: ${text}`);
  return signal;
}

function execIdOf(info: ProcessInfo['info']): string {
  return (info && unpackAny(info, ProcessDetails))?.execId ?? '';
}

function processInfo({ info }: ProcessInfo): string {
  const execId = execIdOf(info);
  return execId === '' ? '-' : `exec_id:${JSON.stringify(execId)}`;
}

async function attach({ client, args, exitWith }: CommandContext): Promise<void> {
  const containerId = argument(args, 0, ID_MISSING);
  await getContainer(client, containerId);
  const { process: found } = await client.service(Tasks).get({ containerId });
  const path = (text: string): string => (text.startsWith('/') ? text : '');
  const stdio: StdioPaths = {
    stdin: path(found?.stdin ?? ''),
    stdout: path(found?.stdout ?? ''),
    stderr: path(found?.stderr ?? ''),
  };
  if (stdio.stdout === '') {
    const where = found?.stdout ?? '';
    throw new TsError('FailedPrecondition', `attach ${containerId}: it has no FIFOs to attach to`, {
      advice: where === '' ? 'its output goes nowhere' : `read its output at ${where}`,
    });
  }
  const hasTerminal = found?.terminal === true;
  const code = await runSession(
    client,
    { containerId, execId: '', stdio, hasTerminal },
    {
      delete: async () => void (await client.service(Tasks).delete({ containerId })),
    },
  );
  exitWith(code);
}

async function exec({ client, args, flags, exitWith }: CommandContext): Promise<void> {
  const containerId = argument(args, 0, ID_MISSING);
  const container = await getContainer(client, containerId);
  const execId = flags.string('exec-id') ?? `exec-${randomBytes(6).toString('hex')}`;
  const hasTerminal = flags.bool('tty');
  const tasks = client.service(Tasks);
  const spec = await execProcess(client, container, flags, args.slice(1));
  const stdio = stdioOf(execId, flags, hasTerminal);
  const create = async (): Promise<void> => {
    const request = { containerId, execId, terminal: hasTerminal, spec, ...stdio };
    await tasks.exec(request);
  };
  const start = async (): Promise<void> => void (await tasks.start({ containerId, execId }));
  const end = async (): Promise<void> => {
    const { exitStatus } = await tasks.deleteProcess({ containerId, execId });
    exitWith(exitStatus);
  };
  try {
    if (flags.bool('detach')) {
      // The shim waits for readers; once it has its own ends of the FIFOs, those here are needed no more.
      using _streams = isRelayed(stdio) ? new TaskStreams(stdio) : undefined;
      await create();
      await start();
      return;
    }
    if (isRelayed(stdio)) {
      const target = { containerId, execId, stdio, hasTerminal };
      exitWith(await runSession(client, target, { create, start, delete: end }));
      removeFifos(stdio);
      return;
    }
    await create();
    const exit = tasks.wait({ containerId, execId });
    exit.catch(() => undefined); // looked at below, unless the start fails first
    await start();
    await exit;
    await end();
  } catch (thrown) {
    await tasks.deleteProcess({ containerId, execId }).catch(() => undefined); // the first error counts
    if (isRelayed(stdio)) removeFifos(stdio);
    throw thrown;
  }
}

/** The process to run: the container's own, with another command. */
async function execProcess(
  client: Client,
  container: Container,
  flags: FlagValues,
  args: readonly string[],
) {
  const cwd = flags.string('cwd');
  const user = flags.string('user');
  const process = {
    ...specProcess(container),
    args,
    terminal: flags.bool('tty'),
    ...(cwd === undefined ? {} : { cwd }),
    ...(user === undefined ? {} : { user: await userIn(client, container, user) }),
  };
  return { typeUrl: PROCESS_TYPE, value: Buffer.from(formatJson(process)) };
}

async function userIn(client: Client, { snapshotter, snapshotKey }: Container, text: string) {
  if (snapshotKey === '') return resolveUser(text, () => undefined);
  const { mounts } = await client.service(Snapshots).mounts({ snapshotter, key: snapshotKey });
  return resolveUser(text, filesOf(mounts));
}

async function remove({ client, args, flags, output, exitWith }: CommandContext): Promise<void> {
  const execId = flags.string('exec-id');
  const isForced = flags.bool('force');
  if (execId !== undefined) {
    const containerId = argument(args, 0, ID_MISSING);
    await getContainer(client, containerId);
    if (isForced) await killAndWait(client, containerId, execId);
    const tasks = client.service(Tasks);
    const { process: found } = await tasks.get({ containerId, execId });
    const { exitStatus } = await tasks.deleteProcess({ containerId, execId });
    removeDetachedFifos(found?.stdout ?? '');
    exitWith(exitStatus);
    return;
  }
  const failures: TsError[] = [];
  for (const containerId of args) {
    try {
      await getContainer(client, containerId);
      const status = await deleteTask(client, containerId, isForced);
      if (status !== 0)
        output.note(`tsctr: task ${containerId} exit with non-zero exit code ${status}`);
    } catch (thrown) {
      failures.push(TsError.from(thrown));
    }
  }
  const [first, ...more] = failures;
  for (const each of more) output.note(`tsctr: ${each.text}`);
  if (first !== undefined) throw first;
}

async function deleteTask(client: Client, containerId: string, isForced: boolean): Promise<number> {
  const tasks = client.service(Tasks);
  const { process: found } = await tasks.get({ containerId }).catch((thrown: unknown) => {
    const error = TsError.from(thrown);
    throw error.kind === 'NotFound' ? error.within('no running task found') : error;
  });
  const status = found?.status ?? Status.UNKNOWN;
  if (isForced) await killAndWait(client, containerId, '');
  else if (status !== Status.STOPPED && status !== Status.CREATED) {
    const state = statusName(status).toLowerCase();
    const text = `task must be stopped before deletion: ${state}: failed precondition`;
    throw new TsError('FailedPrecondition', text, { advice: 'kill it first, or give --force' });
  }
  const { exitStatus } = await tasks.delete({ containerId });
  removeDetachedFifos(found?.stdout ?? '');
  return exitStatus;
}

async function killAndWait(client: Client, containerId: string, execId: string): Promise<void> {
  const tasks = client.service(Tasks);
  const exit = tasks.wait({ containerId, execId });
  exit.catch(() => undefined); // looked at below
  try {
    await tasks.kill({ containerId, execId, signal: 9, all: execId === '' });
  } catch (thrown) {
    // It has ended already.
    if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
  }
  await exit;
}
