import { packAny, unpackAny } from '../../api/any.ts';
import {
  Introspection,
  type Plugin,
} from '../../api/generated/containerd.services.introspection.v1.ts';
import {
  type Platform,
  RuntimeInfo,
  RuntimeRequest,
} from '../../api/generated/containerd.types.ts';
import { parseJson } from '../../oci/index.ts';
import type { CommandGroup } from '../command.ts';
import { goJson } from '../go-json.ts';
import { RUNTIME_FLAGS, runtimeOptions } from '../runtime-options.ts';
import { formatTable, WIDE } from '../table.ts';

/** The words of google.rpc.Code, by number, as Go prints them. */
const CODES = [
  'OK',
  'Canceled',
  'Unknown',
  'InvalidArgument',
  'DeadlineExceeded',
  'NotFound',
  'AlreadyExists',
  'PermissionDenied',
  'ResourceExhausted',
  'FailedPrecondition',
  'Aborted',
  'OutOfRange',
  'Unimplemented',
  'Internal',
  'Unavailable',
  'DataLoss',
  'Unauthenticated',
];
const UNIMPLEMENTED = 12;

/** `tsctr plugins`. */
export const PLUGINS: CommandGroup = {
  name: 'plugins',
  aliases: ['plugin'],
  summary: 'what the daemon consists of',
  commands: [
    {
      name: 'list',
      aliases: ['ls'],
      summary: 'list the plugins',
      usage: '[<filter>...]',
      objects: ['text'],
      flags: {
        quiet: { type: 'bool', short: 'q', usage: 'print ids only' },
        detailed: { type: 'bool', short: 'd', usage: 'print all that is known of each' },
      },
      async run({ client, args, flags, output }) {
        const { plugins } = await client.service(Introspection).plugins({ filters: [...args] });
        if (flags.bool('quiet')) {
          for (const { id } of plugins) output.line(id);
        } else if (flags.bool('detailed') && output.format === 'table') {
          output.write(formatTable(plugins.flatMap(details), WIDE));
        } else {
          output.table({
            header: ['TYPE', 'ID', 'PLATFORMS', 'STATUS', ''],
            rows: plugins.map((each) => [each.type, each.id, platforms(each), status(each), '']),
            style: WIDE,
            records: plugins,
          });
        }
      },
    },
    {
      name: 'inspect-runtime',
      summary: 'print what a runtime can do, as JSON',
      flags: RUNTIME_FLAGS,
      async run({ client, flags, output }) {
        const { name, options } = runtimeOptions(flags);
        const request = packAny(RuntimeRequest, { runtimePath: name, options });
        const type = 'io.containerd.runtime.v2';
        const answer = await client
          .service(Introspection)
          .pluginInfo({ type, id: 'task', options: request });
        const info = answer.extra && unpackAny(answer.extra, RuntimeInfo);
        if (info === undefined) return;
        output.json({
          Name: info.name,
          Version: { Version: info.version?.version ?? '', Revision: info.version?.revision ?? '' },
          Options:
            info.options === undefined ? null : goJson({ ...info.options, typeUrl: '', value: '' }),
          Features:
            info.features === undefined ? null : parseJson(info.features.value, 'runtime features'),
          Annotations: info.annotations.size === 0 ? null : info.annotations,
        });
      },
    },
  ],
};

function platforms({ platforms: list }: Plugin): string {
  return list.length === 0 ? '-' : list.map(platformText).join(',');
}

function platformText({ os, architecture, variant }: Platform): string {
  return [os, architecture, variant].filter((part) => part !== '').join('/');
}

/** A plugin that the platform lacks something for is skipped; other failures are errors. */
function status({ initErr }: Plugin): string {
  if (initErr === undefined) return 'ok';
  return initErr.code === UNIMPLEMENTED || /skip plugin/.test(initErr.message) ? 'skip' : 'error';
}

/** The lines of one plugin, as rows of cells; an empty line stands between two. */
function details(plugin: Plugin, index: number): string[][] {
  const rows = [
    ['Type:', ` ${plugin.type}`],
    ['ID:', ` ${plugin.id}`],
  ];
  if (plugin.requires.length > 0) {
    rows.push(['Requires:', ''], ...plugin.requires.map((each) => ['', ` ${each}`]));
  }
  if (plugin.platforms.length > 0) rows.push(['Platforms:', ` ${platforms(plugin)}`]);
  if (plugin.exports.size > 0) {
    rows.push(['Exports:', '']);
    for (const [key, value] of plugin.exports) rows.push(['', ` ${key} `, ` ${value}`]);
  }
  if (plugin.capabilities.length > 0) {
    rows.push(['Capabilities:', ` ${plugin.capabilities.join(',')}`]);
  }
  if (plugin.initErr !== undefined) {
    const { code, message } = plugin.initErr;
    rows.push(
      ['Error:', ''],
      ['', ' Code:', ` ${CODES[code] ?? code}`],
      ['', ' Message:', ` ${message}`],
    );
  }
  return index === 0 ? rows : [['', '', '', ''], ...rows];
}
