import type { FlagSpecs } from '../../internal/flags/flag-parser.ts';
import { COMMANDS, type CommandSpec, GLOBAL_FLAGS } from './commands.ts';

/** The command that parses no flags of its own. */
const HELP = ['help, h', 'show this text, or that of one command'] as const;

/** The text of `tsrunc --help`. */
export function globalHelp(version: string): string {
  return [
    'NAME:',
    '   tsrunc - run containers of the Open Container Initiative',
    '',
    'USAGE:',
    '   tsrunc [global options] command [command options] [arguments...]',
    '',
    'VERSION:',
    ...version.split('\n').map((line) => `   ${line}`),
    '',
    'COMMANDS:',
    ...columns([...COMMANDS.map((each) => [each.name, each.summary] as const), HELP]),
    '',
    'GLOBAL OPTIONS:',
    ...flagLines(GLOBAL_FLAGS),
    '',
  ].join('\n');
}

/** The text of `tsrunc COMMAND --help`. */
export function commandHelp(command: CommandSpec): string {
  return [
    'NAME:',
    `   tsrunc ${command.name} - ${command.summary}`,
    '',
    'USAGE:',
    `   tsrunc ${command.name} [command options] ${command.arguments}`.trimEnd(),
    '',
    'OPTIONS:',
    ...flagLines(command.flags),
    '',
  ].join('\n');
}

function flagLines(flags: FlagSpecs): string[] {
  const rows = Object.entries(flags).flatMap(([name, flag]): [string, string][] => {
    if (flag.hidden === true) return [];
    const value = flag.type === 'bool' ? '' : ' value';
    const short = flag.short === undefined ? '' : `, -${flag.short}${value}`;
    const fallback = flag.default === undefined ? '' : ` (default: ${flag.default})`;
    return [[`--${name}${value}${short}`, flag.usage + fallback]];
  });
  return columns(rows);
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length)) + 2;
  return rows.map(([left, right]) => `   ${left.padEnd(width)}${right}`);
}
