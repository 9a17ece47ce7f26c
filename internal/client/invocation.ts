import {
  type FlagSpecs,
  type FlagValues,
  type ParsedArguments,
  parseFlags,
  UsageError,
} from '../flags/flag-parser.ts';
import { nearestName } from '../oci/index.ts';
import { type Command, type CommandNode, findNode, isGroup, type Program } from './command.ts';
import { commandHelp, globalHelp, groupHelp } from './help.ts';

/** Flags that stand before the command; all but the version's are also taken behind it. */
export const GLOBAL_FLAGS: FlagSpecs = {
  debug: { type: 'bool', usage: 'show where an error comes from' },
  address: {
    type: 'string',
    short: 'a',
    default: '/run/containerd/containerd.sock',
    usage: 'socket of the daemon [$CONTAINERD_ADDRESS]',
  },
  timeout: { type: 'duration', usage: 'limit for the whole command, such as 30s' },
  'connect-timeout': { type: 'duration', usage: 'limit for connecting' },
  namespace: {
    type: 'string',
    short: 'n',
    default: 'default',
    usage: 'containerd namespace [$CONTAINERD_NAMESPACE]',
  },
  format: { type: 'string', default: 'table', usage: 'of results: table or json' },
};

const HELP: FlagSpecs = { help: { type: 'bool', short: 'h', usage: 'show this' } };
const VERSION: FlagSpecs = { version: { type: 'bool', short: 'v', usage: 'print the version' } };

/** A command with what it was given. */
export interface Invocation {
  readonly command: Command;
  readonly flags: FlagValues;
  readonly args: readonly string[];
}

/** A word that names no command. */
export class UnknownCommand extends Error {
  override readonly name = 'UnknownCommand';
}

/** All flags that a command line may have once it has come to `node`. */
export function flagsOf(path: readonly CommandNode[]): FlagSpecs {
  return Object.assign({}, GLOBAL_FLAGS, ...path.map(({ flags = {} }) => flags), HELP);
}

/**
 * Finds the command of a command line and parses its flags: those of all levels may stand behind it too. Returns a text
 * when one is asked for instead. Throws UsageError or {@link UnknownCommand}.
 */
export function parseCommandLine(
  argv: readonly string[],
  nodes: readonly CommandNode[],
  program: Program,
): Invocation | string {
  const global = parse(argv, { ...GLOBAL_FLAGS, ...HELP, ...VERSION }, false);
  if (global.flags.bool('version'))
    return `${`tsctr ${program.version} ${program.revision}`.trim()}\n`;
  const flags = global.flags;
  let words: readonly string[] = global.positional;
  let level = nodes;
  const path: CommandNode[] = [];
  let wantsHelp = flags.bool('help');
  for (;;) {
    const [word, ...rest] = words;
    if (word === undefined) return helpOf(path, nodes, program);
    if (word === 'help' || word === 'h') {
      wantsHelp = true;
      words = rest;
      continue;
    }
    const node = findNode(level, word);
    if (node === undefined) throw unknownCommand(word, path, level);
    path.push(node);
    if (!isGroup(node)) {
      const parsed = parseCommand(node, path, rest);
      flags.adopt(parsed.flags);
      if (wantsHelp || flags.bool('help')) return helpOf(path, nodes, program);
      checkRequired(node, flags);
      return { command: node, flags, args: parsed.positional };
    }
    const parsed = parse(rest, flagsOf(path), false);
    flags.adopt(parsed.flags);
    wantsHelp ||= flags.bool('help');
    level = node.commands;
    words = parsed.positional;
  }
}

function parseCommand(command: Command, path: readonly CommandNode[], words: readonly string[]) {
  return parse(words, flagsOf(path), command.takesProgram !== true);
}

/** Parses flags; an unknown one is answered with the nearest that there is. */
function parse(words: readonly string[], specs: FlagSpecs, interspersed: boolean): ParsedArguments {
  try {
    const parsed = parseFlags(words, specs, { interspersed });
    // What looks like a flag behind arguments and is none is a slip, not an argument, for commands that take no program.
    const stray = interspersed ? strayFlag(words, parsed.positional) : undefined;
    if (stray !== undefined) throw new UsageError(`flag provided but not defined: -${stray}`);
    return parsed;
  } catch (thrown) {
    if (!(thrown instanceof UsageError)) throw thrown;
    const unknown = /^flag provided but not defined: -(.*)$/.exec(thrown.message)?.[1];
    const near = unknown === undefined ? undefined : nearestName(unknown, Object.keys(specs));
    throw near === undefined
      ? thrown
      : new UsageError(`${thrown.message}: did you mean --${near}?`);
  }
}

function strayFlag(words: readonly string[], positional: readonly string[]): string | undefined {
  if (words.includes('--')) return undefined;
  const stray = positional.find((word) => /^--?[A-Za-z]/.test(word));
  return stray?.replace(/^--?/, '').replace(/=.*/, '');
}

function checkRequired({ required = [] }: Command, flags: FlagValues): void {
  const missing = required.find((name) => !flags.has(name));
  if (missing !== undefined) throw new UsageError(`Required flag "${missing}" not set`);
}

function unknownCommand(
  word: string,
  path: readonly CommandNode[],
  level: readonly CommandNode[],
): UnknownCommand {
  const names = level.flatMap(({ name, aliases = [] }) => [name, ...aliases]);
  const near = nearestName(word, names);
  const above = ['tsctr', ...path.map(({ name }) => name)].join(' ');
  const advice = near === undefined ? `see ${above} --help` : `did you mean "${above} ${near}"?`;
  return new UnknownCommand(`no command "${word}" in "${above}": ${advice}`);
}

function helpOf(
  path: readonly CommandNode[],
  nodes: readonly CommandNode[],
  program: Program,
): string {
  const last = path.at(-1);
  if (last === undefined)
    return globalHelp(nodes, { ...GLOBAL_FLAGS, ...HELP, ...VERSION }, program);
  const name = ['tsctr', ...path.map((node) => node.name)].join(' ');
  if (isGroup(last)) return groupHelp(name, last, { ...last.flags, ...HELP });
  const own = Object.assign({}, ...path.map(({ flags = {} }) => flags), HELP);
  return commandHelp(name, last, own);
}
