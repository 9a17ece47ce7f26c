import { randomBytes } from 'node:crypto';
import { Leases } from '../../api/generated/containerd.services.leases.v1.ts';
import { timestampToNs } from '../../api/time.ts';
import { TsError } from '../../errors/index.ts';
import type { CommandGroup } from '../command.ts';
import { labelArguments, labelText } from '../labels.ts';
import { rfc3339 } from '../message-json.ts';

const EXPIRE_LABEL = 'containerd.io/gc.expire';
const DAY_MS = 24 * 3600 * 1000;

/** `tsctr leases`. */
export const LEASES: CommandGroup = {
  name: 'leases',
  summary: 'what keeps unreferenced content and snapshots for a while',
  commands: [
    {
      name: 'list',
      aliases: ['ls'],
      summary: 'list leases',
      usage: '[<filter>...]',
      objects: ['text'],
      flags: { quiet: { type: 'bool', short: 'q', usage: 'print ids only' } },
      async run({ client, args, flags, output }) {
        const { leases } = await client.service(Leases).list({ filters: [...args] });
        if (flags.bool('quiet')) {
          for (const { id } of leases) output.line(id);
          return;
        }
        output.table({
          header: ['ID', 'CREATED AT', 'LABELS', ''],
          rows: leases.map(({ id, createdAt, labels }) => {
            const created = createdAt === undefined ? 0n : timestampToNs(createdAt);
            const seconds = created - (created % 1_000_000_000n);
            return [id, rfc3339(seconds), labelText(labels) || '-', ''];
          }),
          records: leases,
        });
      },
    },
    {
      name: 'create',
      summary: 'create a lease',
      usage: '[<label>=<value>...]',
      objects: ['text'],
      flags: {
        id: { type: 'string', usage: 'its id (default: a new one)' },
        expires: {
          type: 'duration',
          short: 'x',
          default: '24h0m0s',
          usage: 'when it ends; 0 for never',
        },
      },
      async run({ client, args, flags, output }) {
        const labels = labelArguments(args);
        const expiresMs = flags.number('expires') ?? DAY_MS;
        if (expiresMs > 0) {
          const at = BigInt(Math.floor((Date.now() + expiresMs) / 1000)) * 1_000_000_000n;
          labels.set(EXPIRE_LABEL, rfc3339(at));
        }
        const id = flags.string('id') ?? newLeaseId();
        const { lease } = await client.service(Leases).create({ id, labels });
        output.line(lease?.id ?? id);
      },
    },
    {
      name: 'delete',
      aliases: ['del', 'remove', 'rm'],
      summary: 'delete leases',
      usage: '<lease id>...',
      objects: ['lease'],
      flags: { sync: { type: 'bool', usage: 'wait until what only they kept is gone' } },
      async run({ client, args, flags, output }) {
        for (const [index, id] of args.entries()) {
          // One collection at the end finds what all of them kept.
          const sync = flags.bool('sync') && index === args.length - 1;
          await client.service(Leases).delete({ id, sync });
          output.line(id);
        }
        if (args.length === 0) throw new TsError('InvalidArgument', 'please specify a lease');
      },
    },
  ],
};

/** Nobody has it yet: the nanoseconds of now and some chance. */
export function newLeaseId(): string {
  return `${Date.now()}-${randomBytes(4).toString('hex')}`;
}
