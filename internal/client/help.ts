import type { FlagSpecs } from '../flags/flag-parser.ts';
import type { Command, CommandGroup, CommandNode, Program } from './command.ts';

/** The text of `tsctr --help`. */
export function globalHelp(
  nodes: readonly CommandNode[],
  flags: FlagSpecs,
  { version, revision }: Program,
): string {
  return sections([
    ['NAME', ['tsctr - client of tscontainerd, and of any containerd']],
    ['USAGE', ['tsctr [global options] command [command options]']],
    ['VERSION', [`${version} ${revision}`.trim()]],
    ['COMMANDS', commandLines(nodes)],
    ['GLOBAL OPTIONS', flagLines(flags)],
  ]);
}

/** The text of a group of commands. */
export function groupHelp(name: string, group: CommandGroup, flags: FlagSpecs): string {
  return sections([
    ['NAME', [`${name} - ${group.summary}`]],
    ['USAGE', [`${name} command [command options]`]],
    ['COMMANDS', commandLines(group.commands)],
    ['OPTIONS', flagLines(flags)],
  ]);
}

/** The text of one command. */
export function commandHelp(name: string, command: Command, flags: FlagSpecs): string {
  return sections([
    ['NAME', [`${name} - ${command.summary}`]],
    ['USAGE', [`${name} [command options] ${command.usage ?? ''}`.trimEnd()]],
    ['OPTIONS', flagLines(flags)],
  ]);
}

function sections(parts: readonly (readonly [string, readonly string[]])[]): string {
  return parts
    .map(([title, lines]) => `${title}:\n${lines.map((line) => `   ${line}\n`).join('')}`)
    .join('\n');
}

function commandLines(nodes: readonly CommandNode[]): string[] {
  return columns(
    nodes.map(({ name, aliases = [], summary }) => [[name, ...aliases].join(', '), summary]),
  );
}

function flagLines(flags: FlagSpecs): string[] {
  const rows = Object.entries(flags).flatMap(([name, flag]): [string, string][] => {
    if (flag.hidden === true) return [];
    const value = flag.type === 'bool' ? '' : ' value';
    const long = name.length === 1 ? `-${name}${value}` : `--${name}${value}`;
    const short = flag.short === undefined ? '' : `, -${flag.short}${value}`;
    const fallback = flag.default === undefined ? '' : ` (default: ${flag.default})`;
    return [[long + short, flag.usage + fallback]];
  });
  return columns(rows);
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(0, ...rows.map(([left]) => left.length)) + 2;
  return rows.map(([left, right]) => `${left.padEnd(width)}${right}`);
}
