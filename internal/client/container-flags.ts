import type { FlagSpecs } from '../flags/flag-parser.ts';
import { RUNTIME_FLAGS } from './runtime-options.ts';
import { SNAPSHOTTER_FLAG } from './snapshotter.ts';

/** What a container is made of: the flags of `containers create` and `run`. */
export const CONTAINER_FLAGS: FlagSpecs = {
  ...RUNTIME_FLAGS,
  ...SNAPSHOTTER_FLAG,
  'snapshotter-label': {
    type: 'string[]',
    usage: "label of the container's snapshot (repeatable)",
  },
  config: { type: 'string', short: 'c', usage: 'config.json to use instead of the flags below' },
  cwd: { type: 'string', usage: 'working directory' },
  env: { type: 'string[]', usage: 'set NAME=value (repeatable)' },
  'env-file': { type: 'string', usage: 'file of NAME=value lines' },
  label: { type: 'string[]', usage: 'label of the container (repeatable)' },
  annotation: { type: 'string[]', usage: 'annotation of its configuration (repeatable)' },
  mount: { type: 'string[]', usage: 'type=bind,src=/tmp,dst=/host,options=rbind:ro (repeatable)' },
  'net-host': { type: 'bool', usage: "share the host's network" },
  privileged: { type: 'bool', usage: 'all capabilities and devices, nothing hidden' },
  'read-only': { type: 'bool', usage: 'root file system read-only' },
  sandbox: { type: 'string', usage: 'sandbox that it belongs to' },
  tty: { type: 'bool', short: 't', usage: 'allocate a terminal' },
  'with-ns': { type: 'string[]', usage: 'join an existing namespace, TYPE:PATH (repeatable)' },
  'pid-file': { type: 'string', usage: 'file to write the process id to' },
  'allow-new-privs': { type: 'bool', usage: 'do not set no_new_privs' },
  'memory-limit': { type: 'int', usage: 'bytes of memory' },
  'cap-add': { type: 'string[]', usage: 'add a capability, as CAP_NAME (repeatable)' },
  'cap-drop': { type: 'string[]', usage: 'drop a capability, as CAP_NAME (repeatable)' },
  seccomp: { type: 'bool', usage: 'restrict system calls by the default profile' },
  'seccomp-profile': { type: 'string', usage: 'or by this one (JSON)' },
  'apparmor-profile': { type: 'string', usage: 'AppArmor profile that is loaded' },
  hostname: { type: 'string', usage: 'host name' },
  user: { type: 'string', short: 'u', usage: 'NAME|UID[:GROUP|GID]' },
  rootfs: { type: 'bool', usage: 'the first argument is a directory instead of an image' },
  'no-pivot': { type: 'bool', usage: 'move the root file system instead of pivot_root' },
  'cpu-quota': { type: 'int', default: -1, usage: 'microseconds of processor time a period' },
  'cpu-period': { type: 'int', default: 0, usage: 'length of the period in microseconds' },
  'rootfs-propagation': {
    type: 'string',
    usage: 'private, slave, shared, unbindable, or r and these',
  },
  device: { type: 'string[]', usage: 'device node or a directory of such (repeatable)' },
  'rdt-class': { type: 'string', usage: 'class of Intel RDT' },
};

/** More of `run`. */
export const RUN_FLAGS: FlagSpecs = {
  rm: { type: 'bool', usage: 'remove the container when its process has ended' },
  'null-io': { type: 'bool', usage: 'neither input nor output' },
  'log-uri': {
    type: 'string',
    usage: 'where the shim writes output: file://PATH, binary://PATH, cri://PATH',
  },
  detach: { type: 'bool', short: 'd', usage: 'return when the process runs' },
  'fifo-dir': { type: 'string', usage: 'directory for the FIFOs of input and output' },
  cgroup: { type: 'string', usage: 'cgroup path; "" for none' },
  platform: { type: 'string', usage: 'of an image with several platforms' },
  'sync-fs': { type: 'bool', usage: 'write all to the disk before an image counts as unpacked' },
  uidmap: { type: 'string[]', usage: 'CONTAINER:HOST:LENGTH, of a user namespace (repeatable)' },
  gidmap: { type: 'string[]', usage: 'the same for groups (repeatable)' },
  'remap-labels': { type: 'bool', usage: 'let the snapshotter map ids' },
  'privileged-without-host-devices': { type: 'bool', usage: 'no devices of the host' },
  cpus: { type: 'float', usage: 'processors, such as 0.5' },
  'cpu-shares': { type: 'int', default: 1024, usage: 'weight among other cgroups' },
  'cpuset-cpus': { type: 'string', usage: 'processors, such as 0-2,4' },
  'cpuset-mems': { type: 'string', usage: 'memory nodes' },
};
