import type { FlagSpecs } from './flag-parser.ts';

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

const EXPLAIN: FlagSpecs = {
  explain: {
    type: 'bool',
    usage: 'print the system calls that the command would cause, without making them',
  },
  trace: {
    type: 'string',
    usage: 'write the system calls that were made to this file, with results and times',
  },
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

/** Of checkpoint and restore. */
const CRIU: FlagSpecs = {
  'image-path': { type: 'string', usage: 'directory of the images (default: ./checkpoint)' },
  'work-path': { type: 'string', usage: "directory of CRIU's log and work files" },
  'tcp-established': { type: 'bool', usage: 'allow TCP connections that are open' },
  'ext-unix-sk': { type: 'bool', usage: 'allow unix sockets to outside of the container' },
  'shell-job': { type: 'bool', usage: 'allow processes of a shell session' },
  'lazy-pages': { type: 'bool', usage: 'bring memory over when it is used (userfaultfd)' },
  'file-locks': { type: 'bool', usage: 'save and restore file locks' },
  'manage-cgroups-mode': { type: 'string', usage: 'soft, full, strict or ignore (default: soft)' },
  'empty-ns': { type: 'string[]', usage: 'make this namespace anew and empty: network' },
  'auto-dedup': { type: 'bool', usage: 'do not keep pages twice in images' },
};

const ID = '<container-id>';

function command(
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

const NONE = ['', 0, 0] as const;
const ONE_ID = [ID, 1, 1] as const;

/** Every subcommand, in the order of the help text. */
export const COMMANDS: readonly CommandSpec[] = [
  command('checkpoint', 'write a running container into image files', ONE_ID, {
    ...CRIU,
    'parent-path': { type: 'string', usage: 'images of an earlier pre-dump, below image-path' },
    'leave-running': { type: 'bool', usage: 'keep the container' },
    'tcp-skip-in-flight': { type: 'bool', usage: 'skip TCP connections that are being made' },
    'link-remap': { type: 'bool', usage: 'allow open files that were unlinked, by a new link' },
    'status-fd': {
      type: 'int',
      default: -1,
      usage: 'gets a NUL byte when lazy pages can be asked for',
    },
    'page-server': { type: 'string', usage: 'ADDRESS:PORT of a page server' },
    'pre-dump': { type: 'bool', usage: 'write memory only; the container goes on' },
  }),
  command('create', 'create a container', ONE_ID, CREATE),
  command('delete', 'delete what a container holds', ONE_ID, {
    force: { type: 'bool', short: 'f', usage: 'kill the container first if it runs' },
  }),
  command('events', 'print statistics and out-of-memory events', ONE_ID, {
    interval: { type: 'duration', default: '5s', usage: 'time between statistics' },
    stats: { type: 'bool', usage: 'print statistics once and exit' },
  }),
  command(
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
  ),
  command('features', 'print what this runtime can do, as JSON', NONE),
  command(
    'kill',
    'send a signal to the init process of a container',
    [`${ID} [signal]`, 1, 2],
    { all: { type: 'bool', short: 'a', usage: 'signal every process of the container' } },
    false,
  ),
  command('list', 'list containers', NONE, {
    format: { type: 'string', short: 'f', default: 'table', usage: 'table or json' },
    quiet: { type: 'bool', short: 'q', usage: 'print ids only' },
  }),
  command('pause', 'suspend all processes of a container', ONE_ID),
  command(
    'ps',
    'list the processes of a container',
    [`${ID} [ps options]`, 1, Number.POSITIVE_INFINITY],
    { format: { type: 'string', short: 'f', default: 'table', usage: 'table or json' } },
    false,
  ),
  command('restore', 'make a container go on from image files', ONE_ID, {
    ...CRIU,
    bundle: { type: 'string', short: 'b', usage: 'bundle directory (default: current directory)' },
    'console-socket': {
      type: 'string',
      usage: 'unix socket that gets the master end of the terminal (SCM_RIGHTS)',
    },
    'pid-file': { type: 'string', usage: 'file to write the process id to' },
    detach: { type: 'bool', short: 'd', usage: 'return once the process runs' },
    'no-subreaper': { type: 'bool', usage: 'do not become the reaper of orphans' },
    'no-pivot': { type: 'bool', usage: 'accepted; images say how the root was changed' },
    'lsm-profile': { type: 'string', usage: 'TYPE:NAME of another LSM profile for the processes' },
    'lsm-mount-context': { type: 'string', usage: 'another SELinux context for mounts' },
  }),
  command('resume', 'resume all processes of a container', ONE_ID),
  command('run', 'create and start a container', ONE_ID, {
    ...CREATE,
    detach: { type: 'bool', short: 'd', usage: 'return once the process runs' },
    keep: { type: 'bool', usage: 'leave the container in the stopped state at exit' },
    'no-subreaper': { type: 'bool', usage: 'do not become the reaper of orphans' },
  }),
  command('spec', 'write a config.json to start from', NONE, {
    bundle: { type: 'string', short: 'b', usage: 'bundle directory (default: current directory)' },
    rootless: { type: 'bool', usage: 'for a user without privileges' },
  }),
  command('start', 'start the process of a created container', ONE_ID),
  command('state', 'print the state of a container, as JSON', ONE_ID),
  command('update', 'change the limits of a container', ONE_ID, {
    resources: {
      type: 'string',
      short: 'r',
      usage: 'JSON file with linux.resources, - for stdin; other options are then ignored',
    },
    'blkio-weight': { type: 'int', usage: 'weight of block I/O, 10 to 1000' },
    'cpu-period': { type: 'string', usage: 'CFS period in microseconds' },
    'cpu-quota': { type: 'string', usage: 'CFS quota in microseconds' },
    'cpu-burst': { type: 'string', usage: 'CFS burst in microseconds' },
    'cpu-share': { type: 'string', usage: 'relative CPU weight' },
    'cpu-rt-period': { type: 'string', usage: 'realtime period in microseconds' },
    'cpu-rt-runtime': { type: 'string', usage: 'realtime runtime in microseconds' },
    'cpuset-cpus': { type: 'string', usage: 'CPUs to use: 0-3,7' },
    'cpuset-mems': { type: 'string', usage: 'memory nodes to use' },
    'kernel-memory': { type: 'string', hidden: true, usage: 'ignored' },
    'kernel-memory-tcp': { type: 'string', hidden: true, usage: 'ignored' },
    memory: { type: 'string', usage: 'memory limit in bytes, or with suffix; -1 is unlimited' },
    'cpu-idle': { type: 'string', usage: '1 for SCHED_IDLE, 0 for the usual class' },
    'memory-reservation': { type: 'string', usage: 'soft memory limit' },
    'memory-swap': { type: 'string', usage: 'limit of memory and swap together' },
    'pids-limit': { type: 'int', usage: 'limit of processes' },
    'l3-cache-schema': { type: 'string', usage: 'Intel RDT L3 line' },
    'mem-bw-schema': { type: 'string', usage: 'Intel RDT MB line' },
  }),
];

export function findCommand(name: string): CommandSpec | undefined {
  return COMMANDS.find((each) => each.name === name);
}
