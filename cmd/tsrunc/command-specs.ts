// What the parser and the help know of a command line. The commands that engines call for each container are functions of
// their own, so that a program for one of them has no other (single-command.ts).
import type { FlagSpecs } from '../../internal/flags/flag-parser.ts';

/** One subcommand's surface: what `--help` shows and what the parser accepts. */
export interface CommandSpec {
  readonly name: string;
  readonly summary: string;
  /** The positional arguments, for the usage line. */
  readonly arguments: string;
  readonly minArguments: number;
  readonly maxArguments: number;
  /** Whether flags may follow positional arguments. */
  readonly interspersed: boolean;
  readonly flags: FlagSpecs;
}

export const GLOBAL_FLAGS: FlagSpecs = {
  debug: { type: 'bool', usage: 'log at debug level' },
  log: { type: 'string', usage: 'append log lines to this file instead of stderr' },
  'log-format': { type: 'string', default: 'text', usage: 'format of log lines: text or json' },
  root: {
    type: 'string',
    default: '/run/tsrunc',
    usage: 'directory of container state; $XDG_RUNTIME_DIR/tsrunc when rootless',
  },
  criu: { type: 'string', hidden: true, usage: 'ignored' },
  'systemd-cgroup': { type: 'bool', usage: 'cgroupsPath is slice:prefix:name' },
  rootless: {
    type: 'string',
    default: 'auto',
    usage: 'tolerate cgroup permission errors: true, false or auto',
  },
  help: { type: 'bool', short: 'h', usage: 'show help' },
  version: { type: 'bool', short: 'v', usage: 'print the version' },
};

const HELP: FlagSpecs = { help: { type: 'bool', short: 'h', usage: 'show help' } };

/** Of the commands that make processes. */
export const TRACE: FlagSpecs = {
  trace: {
    type: 'string',
    usage: 'write the system calls that were made to this file, with results and times',
  },
};

const EXPLAIN: FlagSpecs = {
  explain: {
    type: 'bool',
    usage: 'print the system calls that the command would cause, without making them',
  },
  ...TRACE,
};

const CONSOLE_AND_PID: FlagSpecs = {
  'console-socket': {
    type: 'string',
    usage: 'unix socket that gets the master end of the terminal (SCM_RIGHTS)',
  },
  'pidfd-socket': { type: 'string', usage: 'unix socket that gets a pidfd (SCM_RIGHTS)' },
  'pid-file': { type: 'string', usage: 'file to write the process id to' },
};

const PRESERVE_FDS: FlagSpecs = {
  'preserve-fds': {
    type: 'int',
    usage: 'pass N more file descriptors, from 3 up (after LISTEN_FDS)',
  },
};

const CREATE: FlagSpecs = {
  bundle: { type: 'string', short: 'b', usage: 'bundle directory (default: current directory)' },
  ...CONSOLE_AND_PID,
  'no-pivot': { type: 'bool', usage: 'move the root file system instead of pivot_root' },
  'no-new-keyring': { type: 'bool', usage: "keep the caller's session keyring" },
  ...PRESERVE_FDS,
  ...EXPLAIN,
};

export const ID = '<container-id>';

/** Puts a command together; each has `--help`. */
export function command(
  name: string,
  summary: string,
  [args, minArguments, maxArguments]: readonly [string, number, number],
  flags: FlagSpecs = {},
  interspersed = true,
): CommandSpec {
  return {
    name,
    summary,
    arguments: args,
    minArguments,
    maxArguments,
    interspersed,
    flags: { ...flags, ...HELP },
  };
}

export const NONE = ['', 0, 0] as const;
export const ONE_ID = [ID, 1, 1] as const;

export function createSpec(): CommandSpec {
  return command('create', 'create a container', ONE_ID, CREATE);
}

export function deleteSpec(): CommandSpec {
  return command('delete', 'delete what a container holds', ONE_ID, {
    force: { type: 'bool', short: 'f', usage: 'kill the container first if it runs' },
  });
}

export function execSpec(): CommandSpec {
  return command(
    'exec',
    'run another process in a container',
    [`${ID} <command> [arguments]  |  ${ID} --process FILE`, 1, Number.POSITIVE_INFINITY],
    {
      ...CONSOLE_AND_PID,
      cwd: { type: 'string', usage: 'working directory' },
      env: { type: 'string[]', short: 'e', usage: 'set NAME=value (repeatable)' },
      tty: { type: 'bool', short: 't', usage: 'allocate a terminal' },
      user: { type: 'string', short: 'u', usage: 'user id and group id: uid[:gid]' },
      'additional-gids': { type: 'int[]', short: 'g', usage: 'supplementary group (repeatable)' },
      process: { type: 'string', short: 'p', usage: 'JSON file with the process to run' },
      detach: { type: 'bool', short: 'd', usage: 'return once the process runs' },
      'process-label': { type: 'string', usage: 'SELinux label of the process' },
      apparmor: { type: 'string', usage: 'AppArmor profile of the process' },
      'no-new-privs': { type: 'bool', usage: 'set no_new_privs' },
      cap: { type: 'string[]', short: 'c', usage: 'add a capability (repeatable)' },
      ...PRESERVE_FDS,
      cgroup: {
        type: 'string[]',
        usage: 'run in an existing sub-cgroup, [controller,...:]path (repeatable)',
      },
      'ignore-paused': { type: 'bool', usage: 'allow a paused container' },
      ...EXPLAIN,
    },
    false,
  );
}

export function killSpec(): CommandSpec {
  return command(
    'kill',
    'send a signal to the init process of a container',
    [`${ID} [signal]`, 1, 2],
    { all: { type: 'bool', short: 'a', usage: 'signal every process of the container' } },
    false,
  );
}

export function runSpec(): CommandSpec {
  return command('run', 'create and start a container', ONE_ID, {
    ...CREATE,
    detach: { type: 'bool', short: 'd', usage: 'return once the process runs' },
    keep: { type: 'bool', usage: 'leave the container in the stopped state at exit' },
    'no-subreaper': { type: 'bool', usage: 'do not become the reaper of orphans' },
  });
}

export function startSpec(): CommandSpec {
  return command('start', 'start the process of a created container', ONE_ID);
}

export function stateSpec(): CommandSpec {
  return command('state', 'print the state of a container, as JSON', ONE_ID);
}
