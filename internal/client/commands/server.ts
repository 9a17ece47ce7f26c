import {
  type DeprecationWarning,
  Introspection,
} from '../../api/generated/containerd.services.introspection.v1.ts';
import { Version } from '../../api/generated/containerd.services.version.v1.ts';
import { timestampToNs } from '../../api/time.ts';
import type { Command, CommandGroup } from '../command.ts';
import { rfc3339 } from '../message-json.ts';

/** `tsctr version`. */
export const VERSION: Command = {
  name: 'version',
  summary: 'print the versions of client and server',
  async run({ client, output, program }) {
    const server = await client.service(Version).version({});
    const { uuid } = await client.service(Introspection).server({});
    const own = { version: program.version, revision: program.revision };
    if (output.format === 'json') {
      const { version, revision } = server;
      output.json({
        client: { ...own, node: process.versions.node },
        server: { version, revision, uuid },
      });
      return;
    }
    output.line('Client:');
    output.line(`  Version:  ${own.version}`);
    output.line(`  Revision: ${own.revision}`);
    output.line(`  Node version: ${process.versions.node}`);
    output.line('');
    output.line('Server:');
    output.line(`  Version:  ${server.version}`);
    output.line(`  Revision: ${server.revision}`);
    output.line(`  UUID: ${uuid}`);
  },
};

/** `tsctr info`. */
export const INFO: Command = {
  name: 'info',
  summary: 'print what the server says of itself, as JSON',
  async run({ client, output }) {
    const { uuid, pid, pidns, deprecations } = await client.service(Introspection).server({});
    const warnings = deprecations.length === 0 ? {} : { deprecations };
    output.json({ server: { uuid, pid, pidns, ...warnings } });
  },
};

/** `tsctr deprecations`. */
export const DEPRECATIONS: CommandGroup = {
  name: 'deprecations',
  summary: 'what the server uses or was asked for that will go away',
  commands: [
    {
      name: 'list',
      summary: 'print the warnings',
      flags: { format: { type: 'string', usage: 'default or json' } },
      async run({ client, output }) {
        const { deprecations } = await client.service(Introspection).server({});
        if (deprecations.length === 0) return;
        output.table({
          header: ['ID', 'LAST OCCURRENCE', 'MESSAGE', ''],
          rows: deprecations.map((warning) => [warning.id, when(warning), warning.message, '']),
          records: deprecations,
        });
      },
    },
  ],
};

function when({ lastOccurrence }: DeprecationWarning): string {
  return lastOccurrence === undefined ? '-' : rfc3339(timestampToNs(lastOccurrence));
}
