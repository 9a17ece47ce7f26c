import {
  type Container,
  Containers,
} from '../../api/generated/containerd.services.containers.v1.ts';
import { Tasks } from '../../api/generated/containerd.services.tasks.v1.ts';
import { Status } from '../../api/generated/containerd.v1.types.ts';
import { type TimestampMessage, timestampToNs } from '../../api/time.ts';
import { TsError } from '../../errors/index.ts';
import { formatJson, parseJson } from '../../oci/index.ts';
import { checkpointContainer, restoreContainer } from '../checkpoint-image.ts';
import type { Client } from '../client.ts';
import type { CommandContext, CommandGroup } from '../command.ts';
import { createContainer } from '../container-create.ts';
import { deleteContainer } from '../container-delete.ts';
import { CONTAINER_FLAGS } from '../container-flags.ts';
import { goJson } from '../go-json.ts';
import { argument, labelArguments, labelPaths, labelText } from '../labels.ts';
import { rfc3339 } from '../message-json.ts';
import { WIDE } from '../table.ts';
import { getContainer, runTask } from '../task-create.ts';
import { statusName } from '../task-status.ts';

const ID_MISSING = 'container id must be provided';
const REFERENCE_MISSING = 'ref must be provided';

/** `tsctr containers`. */
export const CONTAINERS: CommandGroup = {
  name: 'containers',
  aliases: ['c', 'container'],
  summary: 'containers: what is to run; tasks are what runs',
  commands: [
    {
      name: 'checkpoint',
      summary: 'write a container as an image, from which another can be made',
      usage: 'CONTAINER REF',
      objects: ['container', 'text'],
      flags: {
        rw: { type: 'bool', usage: 'with the files that it has changed' },
        image: { type: 'bool', usage: 'with its image' },
        task: { type: 'bool', usage: 'with the memory of its task, by CRIU' },
      },
      run: checkpoint,
    },
    {
      name: 'create',
      summary: 'create a container without starting it',
      usage: 'IMAGE|ROOTFS CONTAINER [COMMAND] [ARG...]',
      objects: ['image', 'text'],
      flags: CONTAINER_FLAGS,
      takesProgram: true,
      async run({ client, args, flags }) {
        await createContainer(client, flags, args);
      },
    },
    {
      name: 'delete',
      aliases: ['del', 'remove', 'rm'],
      summary: 'delete containers that do not run, and their snapshots',
      usage: 'CONTAINER...',
      objects: ['container'],
      flags: { 'keep-snapshot': { type: 'bool', usage: 'keep the snapshots' } },
      run: remove,
    },
    {
      name: 'info',
      summary: 'print a container, as JSON',
      usage: 'CONTAINER',
      objects: ['container'],
      flags: { spec: { type: 'bool', usage: 'only its configuration' } },
      async run({ client, args, flags, output }) {
        const container = await getContainer(client, argument(args, 0, ID_MISSING));
        const spec = specJson(container);
        if (flags.bool('spec')) output.line(formatJson(spec, 4));
        else output.line(formatJson({ ...recordJson(container), Spec: spec }, 4));
      },
    },
    {
      name: 'list',
      aliases: ['ls'],
      summary: 'list containers',
      usage: '[<filter>...]',
      objects: ['text'],
      flags: { quiet: { type: 'bool', short: 'q', usage: 'print ids only' } },
      async run({ client, args, flags, output }) {
        const { containers } = await client.service(Containers).list({ filters: [...args] });
        if (flags.bool('quiet')) {
          for (const { id } of containers) output.line(id);
          return;
        }
        output.table({
          header: ['CONTAINER', 'IMAGE', 'RUNTIME', ''],
          rows: containers.map(({ id, image, runtime }) => [
            id,
            image || '-',
            runtime?.name ?? '',
            '',
          ]),
          style: WIDE,
          records: containers,
        });
      },
    },
    {
      name: 'label',
      summary: 'set labels of a container; an empty value clears one',
      usage: 'CONTAINER [<key>=<value>...]',
      objects: ['container', 'text'],
      async run({ client, args, output }) {
        const id = argument(args, 0, ID_MISSING);
        const labels = labelArguments(args.slice(1));
        const found = await getContainer(client, id);
        const container =
          labels.size === 0
            ? found
            : (
                await client.service(Containers).update({
                  container: { id, labels },
                  updateMask: { paths: labelPaths(labels) },
                })
              ).container;
        output.line(labelText(container?.labels ?? new Map()));
      },
    },
    {
      name: 'restore',
      summary: 'create a container from a checkpoint and start it',
      usage: 'CONTAINER REF',
      objects: ['text', 'image'],
      flags: {
        rw: { type: 'bool', usage: 'with the files that it had changed' },
        live: { type: 'bool', usage: 'where it was, instead of from its beginning' },
      },
      run: restore,
    },
  ],
};

async function checkpoint({ client, args, flags }: CommandContext): Promise<void> {
  const id = argument(args, 0, ID_MISSING);
  const reference = argument(args, 1, REFERENCE_MISSING);
  const container = await getContainer(client, id);
  const parts = { image: flags.bool('image'), rw: flags.bool('rw'), task: flags.bool('task') };
  const work = () => checkpointContainer(client, container, reference, parts);
  if (!(await hasTask(client, id))) return await work();
  // Its files and its memory are of one moment.
  const tasks = client.service(Tasks);
  await tasks.pause({ containerId: id });
  try {
    await work();
  } finally {
    await tasks.resume({ containerId: id });
  }
}

async function restore({ client, args, flags, exitWith }: CommandContext): Promise<void> {
  const id = argument(args, 0, ID_MISSING);
  const reference = argument(args, 1, REFERENCE_MISSING);
  const { state } = await restoreContainer(client, id, reference, { rw: flags.bool('rw') });
  const restored = { checkpoint: flags.bool('live') ? state : undefined };
  exitWith(await runTask(client, id, flags, restored));
}

async function hasTask(client: Client, containerId: string): Promise<boolean> {
  try {
    await client.service(Tasks).get({ containerId });
    return true;
  } catch (thrown) {
    if (TsError.from(thrown).kind === 'NotFound') return false;
    throw thrown;
  }
}

async function remove({ client, args, flags, output }: CommandContext): Promise<void> {
  argument(args, 0, 'must specify at least one container to delete');
  const failures: TsError[] = [];
  for (const id of args) {
    try {
      const container = await getContainer(client, id);
      await deleteStoppedTask(client, id);
      await deleteContainer(client, container, flags.bool('keep-snapshot'));
    } catch (thrown) {
      failures.push(TsError.from(thrown));
    }
  }
  const [first, ...more] = failures;
  for (const each of more) output.note(`tsctr: ${each.text}`);
  if (first !== undefined) throw first;
}

/** A task that has ended, or has not begun, goes with its container. Throws FailedPrecondition for one that runs. */
async function deleteStoppedTask(client: Client, containerId: string): Promise<void> {
  const tasks = client.service(Tasks);
  let status: number;
  try {
    status = (await tasks.get({ containerId })).process?.status ?? Status.UNKNOWN;
  } catch (thrown) {
    if (TsError.from(thrown).kind === 'NotFound') return;
    throw thrown;
  }
  if (status !== Status.STOPPED && status !== Status.CREATED) {
    const state = statusName(status).toLowerCase();
    throw new TsError(
      'FailedPrecondition',
      `cannot delete a non stopped container: ${containerId} is ${state}`,
      {
        advice: `end it by tsctr tasks kill -s SIGKILL ${containerId}`,
      },
    );
  }
  await tasks.delete({ containerId });
}

function specJson({ id, spec }: Container): unknown {
  return spec === undefined ? null : parseJson(spec.value, `configuration of ${id}`);
}

/** A record in the names of containerd's Go structures. */
function recordJson(container: Container): Record<string, unknown> {
  const time = (at: TimestampMessage | undefined) =>
    rfc3339(at === undefined ? 0n : timestampToNs(at));
  const { labels, runtime, extensions } = container;
  const options = runtime?.options;
  return {
    ID: container.id,
    Labels: labels.size === 0 ? null : Object.fromEntries([...labels].sort()),
    Image: container.image,
    Runtime: { Name: runtime?.name ?? '', Options: options === undefined ? null : goJson(options) },
    SnapshotKey: container.snapshotKey,
    Snapshotter: container.snapshotter,
    CreatedAt: time(container.createdAt),
    UpdatedAt: time(container.updatedAt),
    Extensions: goJson(extensions),
    SandboxID: container.sandbox,
  };
}
