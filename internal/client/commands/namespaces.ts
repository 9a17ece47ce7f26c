import { readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { Namespaces } from '../../api/generated/containerd.services.namespaces.v1.ts';
import { isErrno, TsError } from '../../errors/index.ts';
import type { Client } from '../client.ts';
import type { CommandGroup } from '../command.ts';
import { argument, labelArguments, labelPaths, labelText } from '../labels.ts';

const NAME_MISSING = 'please specify a namespace';

/** `tsctr namespaces`. */
export const NAMESPACES: CommandGroup = {
  name: 'namespaces',
  aliases: ['namespace', 'ns'],
  summary: 'tenants of the daemon',
  commands: [
    {
      name: 'create',
      aliases: ['c'],
      summary: 'create a namespace',
      usage: '<name> [<key>=<value>...]',
      objects: ['text'],
      async run({ client, args }) {
        const name = argument(args, 0, NAME_MISSING);
        const labels = labelArguments(args.slice(1));
        await client.service(Namespaces).create({ namespace: { name, labels } });
      },
    },
    {
      name: 'list',
      aliases: ['ls'],
      summary: 'list namespaces',
      flags: { quiet: { type: 'bool', short: 'q', usage: 'print names only' } },
      async run({ client, flags, output }) {
        const { namespaces } = await client.service(Namespaces).list({});
        if (flags.bool('quiet')) {
          for (const { name } of namespaces) output.line(name);
          return;
        }
        output.table({
          header: ['NAME', 'LABELS', ''],
          rows: namespaces.map(({ name, labels }) => [name, labelText(labels), '']),
          records: namespaces,
        });
      },
    },
    {
      name: 'remove',
      aliases: ['rm'],
      summary: 'remove namespaces, which must be empty',
      usage: '<name> [<name>...]',
      objects: ['namespace'],
      flags: { cgroup: { type: 'bool', short: 'c', usage: "remove the namespace's cgroup" } },
      async run({ client, args, flags, output }) {
        let failure: TsError | undefined;
        for (const name of args) {
          try {
            await remove(client, name);
            if (flags.bool('cgroup')) removeCgroups(name);
            output.line(name);
          } catch (thrown) {
            failure ??= TsError.from(thrown).within(`unable to delete ${name}`);
          }
        }
        if (failure !== undefined) throw failure;
      },
    },
    {
      name: 'label',
      summary: 'set labels of a namespace; an empty value clears one',
      usage: '<name> [<key>=<value>...]',
      objects: ['namespace', 'text'],
      async run({ client, args }) {
        const name = argument(args, 0, NAME_MISSING);
        const labels = labelArguments(args.slice(1));
        const updateMask = { paths: labelPaths(labels) };
        if (labels.size === 0) return;
        await client.service(Namespaces).update({ namespace: { name, labels }, updateMask });
      },
    },
  ],
};

/** Removes a namespace; one that is not there is gone as it should be. */
async function remove(client: Client, name: string): Promise<void> {
  try {
    await client.service(Namespaces).delete({ name });
  } catch (thrown) {
    if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
  }
}

const CGROUPS = '/sys/fs/cgroup';

/** The cgroup of a namespace in the one hierarchy of version 2, or in each of version 1. */
function removeCgroups(name: string): void {
  const hierarchies = readdirSync(CGROUPS, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(CGROUPS, entry.name, name));
  for (const path of [join(CGROUPS, name), ...hierarchies]) {
    try {
      rmdirSync(path);
    } catch (thrown) {
      if (!isErrno(thrown, 'ENOENT', 'ENOTDIR'))
        throw TsError.from(thrown, `remove cgroup ${path}`);
    }
  }
}
