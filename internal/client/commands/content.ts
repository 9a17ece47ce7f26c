import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Content,
  type Info,
  type Status,
} from '../../api/generated/containerd.services.content.v1.ts';
import { type TimestampMessage, timestampToNs } from '../../api/time.ts';
import { TsError } from '../../errors/index.ts';
import { writeBlob } from '../blob-write.ts';
import type { Client } from '../client.ts';
import type { CommandContext, CommandGroup } from '../command.ts';
import { readBlob } from '../image-content.ts';
import { argument, digestArgument, labelArguments, labelPaths, labelText } from '../labels.ts';
import { decimalSize, humanDuration } from '../sizes.ts';
import { TABS } from '../table.ts';
import { withLease } from '../work-lease.ts';
import { FETCH_BLOB, FETCH_OBJECT, PUSH_OBJECT } from './content-remote.ts';
import { fetchCommand } from './images-pull.ts';

/** `tsctr content`. */
export const CONTENT: CommandGroup = {
  name: 'content',
  summary: 'blobs by their digests',
  commands: [
    {
      name: 'active',
      summary: 'list what is being written',
      usage: '[<regexp>]',
      objects: ['text'],
      async run({ client, args, output }) {
        const filters = args[0] === undefined ? [] : [`ref~=${JSON.stringify(args[0])}`];
        const { statuses } = await client.service(Content).listStatuses({ filters });
        output.table({
          header: ['REF', 'SIZE', 'AGE', ''],
          rows: statuses.map((each) => [
            each.ref,
            decimalSize(Number(each.offset)),
            started(each),
            '',
          ]),
          style: TABS,
          records: statuses,
        });
      },
    },
    {
      name: 'delete',
      aliases: ['del', 'remove', 'rm'],
      summary: 'delete blobs',
      usage: '<digest>...',
      objects: ['content'],
      async run({ client, args, output }) {
        let failure: TsError | undefined;
        for (const text of args) {
          const digest = digestArgument(text);
          try {
            await client.service(Content).delete({ digest });
            output.line(digest);
          } catch (thrown) {
            const error = TsError.from(thrown);
            if (error.kind !== 'NotFound') failure ??= error.within(`delete ${digest}`);
          }
        }
        if (failure !== undefined) throw failure;
      },
    },
    {
      name: 'edit',
      summary: 'edit a blob and print the digest of what comes out',
      usage: '<digest>',
      objects: ['content'],
      flags: {
        validate: { type: 'string', usage: 'refuse a result that is not of this format: json' },
        editor: { type: 'string', usage: 'program to edit with [$EDITOR]' },
      },
      run: edit,
    },
    fetchCommand('fetch', 'fetch the content of an image without unpacking it'),
    FETCH_OBJECT,
    FETCH_BLOB,
    PUSH_OBJECT,
    {
      name: 'get',
      summary: 'print a blob',
      usage: '<digest>',
      objects: ['content'],
      async run({ client, args, output }) {
        const digest = digestArgument(args[0] ?? '');
        for await (const chunk of readBlob(client, digest)) await output.writeSlowly(chunk);
      },
    },
    {
      name: 'ingest',
      summary: 'write a blob from standard input',
      usage: '<key>',
      objects: ['text'],
      flags: {
        'expected-size': { type: 'int', usage: 'refuse another size' },
        'expected-digest': { type: 'string', usage: 'refuse another digest' },
      },
      async run({ client, args, flags }) {
        const ref = argument(args, 0, 'must specify a transaction reference');
        const expected = flags.string('expected-digest') ?? '';
        if (expected !== '') digestArgument(expected);
        const total = BigInt(flags.number('expected-size') ?? 0);
        await writeBlob(client, process.stdin, { ref, expected, total });
      },
    },
    {
      name: 'list',
      aliases: ['ls'],
      summary: 'list blobs',
      usage: '[<filter>...]',
      objects: ['text'],
      flags: { quiet: { type: 'bool', short: 'q', usage: 'print digests only' } },
      async run({ client, args, flags, output }) {
        const infos = await listContent(client, args);
        if (flags.bool('quiet')) {
          for (const { digest } of infos) output.line(digest);
          return;
        }
        output.table({
          header: ['DIGEST', 'SIZE', 'AGE', 'LABELS'],
          rows: infos.map(({ digest, size, createdAt, labels }) => {
            return [digest, decimalSize(Number(size)), age(createdAt), labelText(labels) || '-'];
          }),
          style: TABS,
          records: infos,
        });
      },
    },
    {
      name: 'label',
      summary: 'set labels of a blob; an empty value clears one',
      usage: '<digest> [<label>=<value>...]',
      objects: ['content', 'text'],
      async run({ client, args, output }) {
        const digest = digestArgument(args[0] ?? '');
        const labels = labelArguments(args.slice(1));
        const content = client.service(Content);
        const { info } =
          labels.size === 0
            ? await content.info({ digest })
            : await content.update({
                info: { digest, labels },
                updateMask: { paths: labelPaths(labels) },
              });
        output.line(labelText(info?.labels ?? new Map()));
      },
    },
    {
      name: 'prune',
      summary: 'let go of content that is no longer needed',
      commands: [
        {
          name: 'references',
          summary: 'clear the labels that keep unpacked layers, and collect what is then free',
          flags: {
            async: { type: 'bool', usage: 'leave the collection to the daemon' },
            dry: { type: 'bool', usage: 'show what would be done' },
          },
          run: pruneReferences,
        },
      ],
    },
  ],
};

function started(status: Status): string {
  return age(status.startedAt);
}

function age(since: TimestampMessage | undefined): string {
  if (since === undefined) return '-';
  return humanDuration(Date.now() - Number(timestampToNs(since) / 1_000_000n));
}

async function listContent(client: Client, filters: readonly string[]): Promise<Info[]> {
  const infos: Info[] = [];
  for await (const { info } of client.service(Content).list({ filters })) infos.push(...info);
  return infos;
}

async function edit({ client, args, flags, output }: CommandContext): Promise<void> {
  const digest = digestArgument(args[0] ?? '');
  const editor = flags.string('editor') ?? process.env['EDITOR'] ?? '';
  if (editor === '')
    throw new TsError('InvalidArgument', 'editor is required', {
      advice: 'set $EDITOR or give --editor',
    });
  const directory = mkdtempSync(join(tmpdir(), 'tsctr-edit-'));
  try {
    const path = join(directory, digest.replace(':', '-'));
    const parts: Uint8Array[] = [];
    for await (const chunk of readBlob(client, digest)) parts.push(chunk);
    writeFileSync(path, Buffer.concat(parts));
    // A shell, since the name of an editor may come with arguments.
    const { status, error } = spawnSync('/bin/sh', ['-c', `${editor} "$0"`, path], {
      stdio: 'inherit',
    });
    if (status !== 0)
      throw TsError.from(error ?? new Error(`exit status ${status}`), `run ${editor}`);
    const edited = readFileSync(path);
    if (flags.string('validate') === 'json') JSON.parse(edited.toString('utf8'));
    output.line(await storeEdited(client, edited));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function storeEdited(client: Client, bytes: Buffer): Promise<string> {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  async function* source(): AsyncGenerator<Buffer, void, undefined> {
    yield bytes;
  }
  await writeBlob(client, source(), {
    ref: `edited-${digest}`,
    expected: digest,
    total: BigInt(bytes.length),
  });
  return digest;
}

/** Layers that are unpacked are needed no more: the labels of manifests that keep them are cleared. */
async function pruneReferences({ client, flags, output }: CommandContext): Promise<void> {
  const isDry = flags.bool('dry');
  if (isDry) output.note('tsctr: dry run, no changes will be applied');
  for (const { digest, labels } of await listContent(client, [])) {
    const paths = [...labels.keys()].filter((key) =>
      /^containerd\.io\/gc\.ref\.content\.l\.\d+$/.test(key),
    );
    for (const key of paths) output.note(`tsctr: ${digest}: clears ${key}`);
    if (isDry || paths.length === 0) continue;
    const info = { digest, labels: paths.map((key) => [key, ''] as const) };
    await client
      .service(Content)
      .update({ info, updateMask: { paths: paths.map((key) => `labels.${key}`) } });
  }
  if (!isDry && !flags.bool('async'))
    await withLease(client, async () => undefined, { sync: true });
}
