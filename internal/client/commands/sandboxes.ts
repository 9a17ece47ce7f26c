import { readFileSync } from 'node:fs';
import { Controller, Store } from '../../api/generated/containerd.services.sandbox.v1.ts';
import type { Sandbox } from '../../api/generated/containerd.types.ts';
import { timestampToNs } from '../../api/time.ts';
import { TsError } from '../../errors/index.ts';
import { parseJson } from '../../oci/index.ts';
import type { Client } from '../client.ts';
import type { CommandContext, CommandGroup } from '../command.ts';
import { argument } from '../labels.ts';
import { goTime } from '../message-json.ts';
import { RUNC } from '../runtime-options.ts';

const SPEC_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';
/** The controller that leaves sandboxes to shims; ctr names none, and containerd 2.1 then refuses to start one. */
const SANDBOXER = 'shim';

/** `tsctr sandboxes`. */
export const SANDBOXES: CommandGroup = {
  name: 'sandboxes',
  aliases: ['sandbox', 'sb', 's'],
  summary: 'sandboxes: what the containers of a pod share, kept by its shim',
  commands: [
    {
      name: 'run',
      aliases: ['create', 'c', 'r'],
      summary: 'make a sandbox of a configuration, and start it',
      usage: '<config.json> <sandbox-id>',
      objects: ['file', 'text'],
      flags: {
        runtime: {
          type: 'string',
          default: RUNC,
          usage: 'name of the runtime whose shim keeps it',
        },
      },
      run,
    },
    {
      name: 'list',
      aliases: ['ls'],
      summary: 'list sandboxes',
      flags: { filters: { type: 'string[]', usage: 'only those that match' } },
      async run({ client, flags, output }) {
        const filters = [...flags.strings('filters')];
        const { list } = await client.service(Store).list({ filters });
        output.table({
          header: ['ID', 'CREATED', 'RUNTIME', ''],
          rows: list.map(({ sandboxId, createdAt, runtime }) => [
            sandboxId,
            goTime(createdAt === undefined ? 0n : timestampToNs(createdAt)),
            runtime?.name ?? '',
            '',
          ]),
          records: list,
        });
      },
    },
    {
      name: 'remove',
      aliases: ['rm'],
      summary: 'stop sandboxes and remove them',
      usage: '<id>...',
      objects: ['sandbox'],
      flags: {
        force: { type: 'bool', short: 'f', usage: 'also those that cannot be stopped' },
      },
      run: remove,
    },
  ],
};

async function run({ client, args, flags, output }: CommandContext): Promise<void> {
  const path = argument(args, 0, 'a file with the configuration must be given');
  const sandboxId = argument(args, 1, 'an id for the sandbox must be given');
  let value: Buffer;
  try {
    value = readFileSync(path);
  } catch (thrown) {
    throw TsError.from(thrown, `read ${path}`);
  }
  parseJson(value, path); // whoever mistyped it is told here, with line and column
  const runtime = { name: flags.string('runtime') ?? RUNC };
  const spec = { typeUrl: SPEC_TYPE, value };
  const sandbox = { sandboxId, runtime, spec, sandboxer: SANDBOXER };
  const which = { sandboxId, sandboxer: SANDBOXER };
  await client.service(Store).create({ sandbox });
  try {
    await client.service(Controller).create({ ...which, sandbox });
    await client.service(Controller).start(which);
  } catch (thrown) {
    const error = TsError.from(thrown);
    error.cleanup.push(...(await undo(client, sandboxId)));
    throw error;
  }
  output.line(sandboxId);
}

/** Removes what a failed run has made, as far as it came; returns what could not be. */
async function undo(client: Client, sandboxId: string): Promise<TsError[]> {
  const failures: TsError[] = [];
  const isMissing = (error: TsError) => error.kind === 'NotFound';
  for (const step of [
    () => client.service(Controller).shutdown({ sandboxId, sandboxer: SANDBOXER }),
    () => client.service(Store).delete({ sandboxId }),
  ]) {
    try {
      await step();
    } catch (thrown) {
      const error = TsError.from(thrown);
      if (!isMissing(error)) failures.push(error);
    }
  }
  return failures;
}

async function remove({ client, args, flags, output }: CommandContext): Promise<void> {
  argument(args, 0, 'must specify at least one sandbox to remove');
  const failures: TsError[] = [];
  for (const id of args) {
    try {
      const { sandbox } = await client.service(Store).get({ sandboxId: id });
      await removeOne(client, id, sandbox, flags.bool('force'));
      output.line(id);
    } catch (thrown) {
      failures.push(TsError.from(thrown));
    }
  }
  const [first, ...more] = failures;
  for (const each of more) output.note(`tsctr: ${each.text}`);
  if (first !== undefined) throw first;
}

async function removeOne(
  client: Client,
  sandboxId: string,
  sandbox: Sandbox | undefined,
  isForced: boolean,
): Promise<void> {
  const which = { sandboxId, sandboxer: sandbox?.sandboxer || SANDBOXER };
  const controller = client.service(Controller);
  for (const step of [() => controller.stop(which), () => controller.shutdown(which)]) {
    try {
      await step();
    } catch (thrown) {
      const error = TsError.from(thrown);
      if (!isForced && error.kind !== 'NotFound') throw error;
    }
  }
  await client.service(Store).delete({ sandboxId });
}
