import type { FlagSpecs } from '../../internal/flags/flag-parser.ts';
import {
  type CommandSpec,
  command,
  createSpec,
  deleteSpec,
  execSpec,
  ID,
  killSpec,
  NONE,
  ONE_ID,
  runSpec,
  startSpec,
  stateSpec,
  TRACE,
} from './command-specs.ts';

export { type CommandSpec, GLOBAL_FLAGS } from './command-specs.ts';

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
  createSpec(),
  deleteSpec(),
  command('events', 'print statistics and out-of-memory events', ONE_ID, {
    interval: { type: 'duration', default: '5s', usage: 'time between statistics' },
    stats: { type: 'bool', usage: 'print statistics once and exit' },
  }),
  execSpec(),
  command('features', 'print what this runtime can do, as JSON', NONE),
  killSpec(),
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
    ...TRACE,
  }),
  command('resume', 'resume all processes of a container', ONE_ID),
  runSpec(),
  command('spec', 'write a config.json to start from', NONE, {
    bundle: { type: 'string', short: 'b', usage: 'bundle directory (default: current directory)' },
    rootless: { type: 'bool', usage: 'for a user without privileges' },
  }),
  startSpec(),
  stateSpec(),
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
