import { writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { errorText } from '../../internal/errors/error-text.ts';
import { TsError } from '../../internal/errors/index.ts';
import { defaultRoot, type RuntimeOptions } from '../../internal/runtime/index.ts';
import { runAction } from './actions.ts';
import { type CommandSpec, findCommand, GLOBAL_FLAGS } from './commands.ts';
import { type FlagValues, parseBool, parseFlags, UsageError } from './flag-parser.ts';
import { commandHelp, globalHelp } from './help.ts';
import { type Log, type LogFormat, openLog } from './log.ts';
import { versionText } from './version.ts';

export { exitProcess } from '../../internal/linux/exit.ts';

const STDOUT = 1;
const STDERR = 2;

/** Exit code of any error but exec's (runc's convention). */
const FAILURE = 1;
/** Exit code for a command or a help topic that is not there (urfave/cli). */
const NO_TOPIC = 3;
/** Exit code of an exec that failed after its arguments were accepted. */
const EXEC_FAILURE = 255;

/** Runs one command line and returns its exit code; nothing is thrown. */
export async function main(argv: readonly string[]): Promise<number> {
  let log: Log = openLog(undefined, 'text', false);
  let failure = FAILURE;
  try {
    const { flags, positional } = parseGlobal(argv);
    log = openLog(flags.string('log'), logFormat(flags), flags.bool('debug'));
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
    if (command.name === 'exec') failure = EXEC_FAILURE;
    return await runAction(command.name, {
      options: runtimeOptions(flags, log),
      flags: parsed.flags,
      args: parsed.positional,
    });
  } catch (thrown) {
    const text = thrown instanceof UsageError ? thrown.message : errorText(TsError.from(thrown));
    log.write('error', text);
    if (!log.toStderr) writeSync(STDERR, `${text}\n`);
    return failure;
  }
}

function parseGlobal(argv: readonly string[]) {
  try {
    return parseFlags(argv, GLOBAL_FLAGS, { interspersed: false });
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

function checkArguments(command: CommandSpec, count: number): void {
  const { name, minArguments: least, maxArguments: most } = command;
  if (count >= least && count <= most) return;
  const wanted =
    least === most
      ? `exactly ${least}`
      : count < least
        ? `a minimum of ${least}`
        : `a maximum of ${most}`;
  throw new UsageError(`tsrunc: ${JSON.stringify(name)} requires ${wanted} argument(s)`);
}

function logFormat(flags: FlagValues): LogFormat {
  const format = flags.string('log-format') ?? 'text';
  if (format === '') return 'text';
  if (format === 'text' || format === 'json') return format;
  throw new TsError('InvalidArgument', `invalid log-format: ${format}`);
}

function runtimeOptions(flags: FlagValues, log: Log): RuntimeOptions {
  const given = flags.string('root') ?? '';
  const root = given === '' ? defaultRoot(process.geteuid?.() ?? 0, process.env) : resolve(given);
  if (root === '/') {
    throw new TsError('InvalidArgument', 'Option --root argument should not be set to /', {
      code: 'TS_STATE_ROOT_IS_ROOT',
      advice: 'give --root a directory of its own',
    });
  }
  return {
    root,
    systemdCgroup: flags.bool('systemd-cgroup'),
    rootless: rootlessOption(flags.string('rootless') ?? 'auto'),
    debug: (message) => log.write('debug', message),
  };
}

function rootlessOption(text: string): boolean | 'auto' {
  if (text === '' || text.toLowerCase() === 'auto') return 'auto';
  const value = parseBool(text);
  if (value !== undefined) return value;
  const problem = `--rootless ${JSON.stringify(text)} is not true, false or auto`;
  throw new TsError('InvalidArgument', problem);
}

function help0(): string {
  return globalHelp(versionText());
}

function print(text: string): number {
  writeSync(STDOUT, text);
  return 0;
}
