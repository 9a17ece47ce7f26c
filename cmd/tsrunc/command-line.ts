import { writeSync } from 'node:fs';
import { parseFlags, UsageError } from '../../internal/flags/flag-parser.ts';
import { runAction } from './actions.ts';
import { type CommandSpec, findCommand } from './commands.ts';
import { commandHelp, globalHelp } from './help.ts';
import {
  checkArguments,
  FAILURE,
  failureOf,
  logOf,
  parseGlobalFlags,
  report,
  runtimeOptions,
} from './invocation.ts';
import { type Log, openLog } from './log.ts';
import { versionText } from './version.ts';

export { exitProcess } from '../../internal/linux/exit.ts';

const STDOUT = 1;

/** Exit code for a command or a help topic that is not there (urfave/cli). */
const NO_TOPIC = 3;

/** Runs one command line and returns its exit code; nothing is thrown. */
export async function main(argv: readonly string[]): Promise<number> {
  let log: Log = openLog(undefined, 'text', false);
  let failure = FAILURE;
  try {
    const { flags, positional } = parseGlobal(argv);
    log = logOf(flags);
    if (flags.bool('version')) return print(`${versionText()}\n`);
    const [name, ...rest] = positional;
    const isHelp = name === undefined || name === 'help' || name === 'h';
    if (flags.bool('help')) return print(help0());
    const topic = isHelp ? rest[0] : name;
    if (topic === undefined) return print(help0());
    const command = findCommand(topic);
    if (command === undefined) {
      failure = NO_TOPIC;
      throw new UsageError(`No help topic for '${topic}'`);
    }
    if (isHelp) return print(commandHelp(command));
    const parsed = parseCommand(command, rest);
    if (parsed === undefined) return print(commandHelp(command));
    failure = failureOf(command);
    return await runAction(command.name, {
      options: runtimeOptions(flags, log),
      flags: parsed.flags,
      args: parsed.positional,
    });
  } catch (thrown) {
    report(thrown, log);
    return failure;
  }
}

function parseGlobal(argv: readonly string[]) {
  try {
    return parseGlobalFlags(argv);
  } catch (thrown) {
    if (thrown instanceof UsageError) print(`Incorrect Usage. ${thrown.message}\n\n${help0()}`);
    throw thrown;
  }
}

/** The command's arguments, or undefined if help was asked for. */
function parseCommand(command: CommandSpec, argv: readonly string[]) {
  let usage = 'Incorrect Usage.';
  try {
    const parsed = parseCommandFlags(command, argv, (problem) => {
      usage = `Incorrect Usage: ${problem}`;
    });
    if (parsed.flags.bool('help')) return undefined;
    checkArguments(command, parsed.positional.length);
    return parsed;
  } catch (thrown) {
    if (thrown instanceof UsageError) print(`${usage}\n\n${commandHelp(command)}`);
    throw thrown;
  }
}

function parseCommandFlags(
  { flags, interspersed }: CommandSpec,
  argv: readonly string[],
  onProblem: (problem: string) => void,
) {
  try {
    return parseFlags(argv, flags, { interspersed });
  } catch (thrown) {
    if (thrown instanceof UsageError) onProblem(thrown.message);
    throw thrown;
  }
}

function help0(): string {
  return globalHelp(versionText());
}

function print(text: string): number {
  writeSync(STDOUT, text);
  return 0;
}
