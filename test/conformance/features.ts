// What the README says that works: each row names the tests that show it. A row without tests says that it does not work
// yet. features.test.ts holds the README to this list and this list to the tests.

/** A row of the README's table. */
export interface Feature {
  readonly what: string;
  /** Test files that show it, relative to the repository; empty when it does not work yet. */
  readonly shownBy: readonly string[];
  /** What is missing of it, or on what it depends. */
  readonly note?: string;
}

const integration = (name: string) => `test/integration/${name}.test.ts`;
const conformance = (name: string) => `test/conformance/${name}.test.ts`;

/** The rows, by program. */
export const features: Readonly<Record<string, readonly Feature[]>> = {
  'The three together': [
    {
      what: 'A container from an image to its exit status, through a crash of the daemon (`make demo`)',
      shownBy: ['test/demo/demo.test.ts'],
    },
    {
      what: 'Programs that need neither Node nor npm on the machine',
      shownBy: [integration('standalone')],
    },
    { what: 'amd64, and arm64 as far as QEMU runs it', shownBy: [integration('arm64')] },
    {
      what: 'The environment cannot bring code into a program that runs as root',
      shownBy: ['build/sea.test.ts'],
    },
  ],
  '`tsrunc`, the runtime': [
    {
      what: '`run`, `create`, `start`, `state`, `kill`, `delete`, `list`, `ps`, `pause`, `resume`, `events`, `update`',
      shownBy: [integration('runtime-lifecycle')],
    },
    {
      what: '`exec`, with user, capabilities, environment, fds',
      shownBy: [integration('runtime-exec')],
    },
    { what: '`spec`, as runc writes it', shownBy: [conformance('spec-command')] },
    {
      what: 'cgroup limits, freezing, device rules, statistics',
      shownBy: [integration('cgroups')],
    },
    {
      what: 'Containers as one pass over an array of system calls, from checked machine code',
      shownBy: [integration('trampoline'), integration('trampoline-arm64')],
    },
    { what: '`checkpoint`, `restore`', shownBy: [] },
    { what: 'systemd as the cgroup driver', shownBy: [] },
  ],
  '`containerd-shim-tsrunc-v2`, the shim': [
    {
      what: "Under Debian's containerd 2.1 and 1.6, driven by `ctr`",
      shownBy: [integration('shim-containerd'), integration('ttrpc-interop')],
    },
    {
      what: 'Start, grouping by sandbox, the start protocols of containerd 1.6 to 2.3',
      shownBy: [integration('shim-start')],
    },
    { what: 'Tasks and execs over tsrunc, runc and crun', shownBy: [integration('shim-life')] },
    {
      what: 'Output to fifos, terminals, `file://` and `binary://`, complete to the last byte',
      shownBy: [integration('shim-stdio')],
    },
  ],
  '`tscontainerd`, the daemon': [
    {
      what: 'Content, images, containers, leases, namespaces, events, as containerd answers',
      shownBy: ['content', 'images', 'containers', 'leases', 'events'].map(conformance),
    },
    { what: 'Snapshots: overlayfs and native', shownBy: [integration('snapshotters')] },
    {
      what: "Tasks over our shim and over Debian's containerd-shim-runc-v2",
      shownBy: [integration('tasks-lifecycle')],
    },
    {
      what: 'A daemon that stops, crashes or is killed at any step finds its shims and tasks again',
      shownBy: [integration('tasks-restart'), 'test/faults/tasks-killed-daemon.test.ts'],
    },
    { what: 'CRI, the service for Kubernetes', shownBy: [] },
    { what: 'NRI, metrics, remote snapshotters', shownBy: [] },
  ],
};

/** Lines that stand before and after the table in the README. */
export const markers = {
  begin: '<!-- made by: node test/conformance/table.ts --write -->',
  end: '<!-- end of the table -->',
} as const;
