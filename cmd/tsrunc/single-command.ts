// The command line of a program that has one command and no help. For each of the commands that engines call most, the
// build makes such a program (single/), with nothing in it that the command does not need.

import { parseFlags, UsageError } from '../../internal/flags/flag-parser.ts';
import type { CommandSpec } from './command-specs.ts';
import type { Action } from './container-actions.ts';
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

/**
 * Runs the command line if it calls `command` and asks for nothing else, and returns its exit code. Undefined, and nothing
 * has been done or told, if it is for the whole program: another command, a wrong usage, or help.
 */
export async function runSingle(
  argv: readonly string[],
  command: CommandSpec,
  action: Action,
): Promise<number | undefined> {
  const given = parse(argv, command);
  if (given === undefined) return undefined;
  let log: Log = openLog(undefined, 'text', false);
  let failure = FAILURE;
  try {
    const { globalFlags, flags, args } = given;
    log = logOf(globalFlags);
    failure = failureOf(command);
    return await action({ options: runtimeOptions(globalFlags, log), flags, args });
  } catch (thrown) {
    report(thrown, log);
    return failure;
  }
}

function parse(argv: readonly string[], command: CommandSpec) {
  try {
    const { flags: globalFlags, positional } = parseGlobalFlags(argv);
    if (globalFlags.bool('version') || globalFlags.bool('help')) return undefined;
    const [name, ...rest] = positional;
    if (name !== command.name) return undefined;
    const { flags, positional: args } = parseFlags(rest, command.flags, command);
    if (flags.bool('help')) return undefined;
    checkArguments(command, args.length);
    return { globalFlags, flags, args };
  } catch (thrown) {
    if (thrown instanceof UsageError) return undefined; // the whole program tells it, with the help
    throw thrown;
  }
}
