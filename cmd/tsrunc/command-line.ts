import { writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { errorText } from '../../internal/errors/error-text.ts';
import { TsError } from '../../internal/errors/index.ts';
import { defaultRoot, type RuntimeOptions } from '../../internal/runtime/index.ts';
import { runAction } from './actions.ts';
import { type CommandSpec, findCommand, GLOBAL_FLAGS } from './commands.ts';
import { type FlagValues, parseFlags, UsageError } from './flag-parser.ts';
import { commandHelp, globalHelp } from './help.ts';
import { type Log, type LogFormat, openLog } from './log.ts';
import { versionText } from './version.ts';

export { exitProcess } from '../../internal/linux/exit.ts';

const STDOUT = 1;
const STDERR = 2;

/** Exit code of any error but exec's (runc's convention). */
const FAILURE = 1;
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
    if (name === undefined || name === 'help' || flags.bool('help')) return help(rest[0]);
    const command = findCommand(name);
    if (command === undefined) throw new UsageError(`no command ${JSON.stringify(name)}`);
    const parsed = parseCommand(command, rest);
    if (parsed === undefined) return print(commandHelp(command));
    if (name === 'exec') failure = EXEC_FAILURE;
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
  try {
    const parsed = parseFlags(argv, command.flags, { interspersed: command.interspersed });
    if (parsed.flags.bool('help')) return undefined;
    checkArguments(command, parsed.positional.length);
    return parsed;
  } catch (thrown) {
    if (thrown instanceof UsageError) print(`Incorrect Usage.\n\n${commandHelp(command)}`);
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
  if (format === 'text' || format === 'json') return format;
  throw new TsError('InvalidArgument', `invalid log-format: ${format}`);
}

function runtimeOptions(flags: FlagValues, log: Log): RuntimeOptions {
  const rootless = flags.string('rootless') ?? 'auto';
  if (!['true', 'false', 'auto'].includes(rootless)) {
    throw new TsError(
      'InvalidArgument',
      `--rootless ${JSON.stringify(rootless)} is not true, false or auto`,
    );
  }
  const root = flags.string('root');
  const uid = process.geteuid?.() ?? 0;
  return {
    root: root === undefined || root === '' ? defaultRoot(uid, process.env) : resolve(root),
    systemdCgroup: flags.bool('systemd-cgroup'),
    rootless: rootless === 'auto' ? 'auto' : rootless === 'true',
    debug: (message) => log.write('debug', message),
  };
}

function help(name: string | undefined): number {
  const command = name === undefined ? undefined : findCommand(name);
  return print(command === undefined ? help0() : commandHelp(command));
}

function help0(): string {
  return globalHelp(versionText());
}

function print(text: string): number {
  writeSync(STDOUT, text);
  return 0;
}
