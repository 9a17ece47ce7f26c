// From a command line to what an action needs, and from what it throws to an exit code: everything but the help.
import { writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { errorText } from '../../internal/errors/error-text.ts';
import { TsError } from '../../internal/errors/index.ts';
import {
  type FlagValues,
  type ParsedArguments,
  parseBool,
  parseFlags,
  UsageError,
} from '../../internal/flags/flag-parser.ts';
import { defaultRoot, type RuntimeOptions } from '../../internal/runtime/index.ts';
import { type CommandSpec, GLOBAL_FLAGS } from './command-specs.ts';
import { type Log, type LogFormat, openLog } from './log.ts';

const STDERR = 2;

/** Exit code of any error but exec's (runc's convention). */
export const FAILURE = 1;
/** Exit code of an exec that failed after its arguments were accepted. */
const EXEC_FAILURE = 255;

/** Exit code of a command that throws once its arguments were accepted. */
export function failureOf(command: CommandSpec): number {
  return command.name === 'exec' ? EXEC_FAILURE : FAILURE;
}

export function parseGlobalFlags(argv: readonly string[]): ParsedArguments {
  return parseFlags(argv, GLOBAL_FLAGS, { interspersed: false });
}

/** Opens the log that the global flags name. */
export function logOf(flags: FlagValues): Log {
  return openLog(flags.string('log'), logFormat(flags), flags.bool('debug'));
}

/** Throws UsageError when a command has too few or too many arguments. */
export function checkArguments(command: CommandSpec, count: number): void {
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

/** Tells what was thrown, to the log and to who called. */
export function report(thrown: unknown, log: Log): void {
  const text = thrown instanceof UsageError ? thrown.message : errorText(TsError.from(thrown));
  log.write('error', text);
  if (!log.toStderr) writeSync(STDERR, `${text}\n`);
}

function logFormat(flags: FlagValues): LogFormat {
  const format = flags.string('log-format') ?? 'text';
  if (format === '') return 'text';
  if (format === 'text' || format === 'json') return format;
  throw new TsError('InvalidArgument', `invalid log-format: ${format}`);
}

export function runtimeOptions(flags: FlagValues, log: Log): RuntimeOptions {
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
