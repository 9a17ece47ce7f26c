// What the README says that works: each row names the tests that show it. A row without tests says that it does not work
// yet. features.test.ts holds the README to this list and this list to the tests.

/** A row of the README's table. */
export interface Feature {
  readonly what: string;
  /**
   * Test files that show it, relative to the repository; `*` stands for any part of a name. Empty when it does not work
   * yet.
   */
  readonly shownBy: readonly string[];
  /** What is missing of it, or on what it depends. */
  readonly note?: string;
}

const integration = (name: string) => `test/integration/${name}.test.ts`;

/** The rows, by program. */
export const features: Readonly<Record<string, readonly Feature[]>> = {
  'The three together': [
    {
      what: 'A container from an image to its exit status, through a crash of the daemon (`make demo`)',
      shownBy: ['test/demo/demo.test.ts'],
    },
    {
      what: "The same with one of the programs ours and the others Debian's: daemon, shim or runtime",
      shownBy: ['test/demo/demo.test.ts'],
    },
    {
      what: 'Programs that need neither Node nor npm on the machine',
      shownBy: [integration('standalone'), integration('make')],
    },
    { what: 'amd64, and arm64 as far as QEMU runs it', shownBy: [integration('arm64')] },
    {
      what: 'Known attacks on container engines, tried for real, get nowhere',
      shownBy: ['test/attack/*.test.ts', 'build/sea.test.ts'],
      note: 'those that have a test so far',
    },
    {
      what: 'Kills, lacking libraries, slow disks and bad input end in one clear error, and leave nothing',
      shownBy: ['test/faults/*.test.ts'],
    },
  ],
  '`tsrunc`, the runtime': [
    {
      what: '`run`, `create`, `start`, `state`, `kill`, `delete`, `list`, `ps`, `pause`, `resume`, `events`, `update`',
      shownBy: [integration('runtime-lifecycle')],
    },
    {
      what: 'Command lines, flags, `--help`, errors and exit codes are those of runc 1.3 and 1.1, row by row',
      shownBy: ['test/conformance/command-lines.test.ts'],
    },
    {
      what: '`exec`, with user, capabilities, environment, fds',
      shownBy: [integration('runtime-exec')],
    },
    {
      what: "Under Debian's containerd 2.1 and 1.6 with runc's shim, and Docker 28 and 20: run, exec, logs, stop, update, restart and health checks",
      shownBy: [integration('runtime-containerd'), integration('runtime-docker')],
    },
    {
      what: 'Under Podman 5 and 4: the same, and pods, user namespaces, tmpfs copy-up, statistics, checkpoint and restore; without root too',
      shownBy: [integration('runtime-podman')],
      note: 'by `make test-podman`',
    },
    {
      what: "The validation suite of the OCI's runtime-tools, as far as a runtime can pass it on this machine",
      shownBy: ['test/conformance/runtime-tools.test.ts'],
    },
    {
      what: 'Every property of config.json is applied or refused by name: a table of which test shows which',
      shownBy: ['test/conformance/config-properties.test.ts'],
    },
    {
      what: 'The same containers as of runc 1.3: a probe inside sees the same, in bundles of every kind and in random ones (`make soak-twins`)',
      shownBy: ['test/conformance/runtime-twins.test.ts', 'test/soak/soak-twins.test.ts'],
    },
    {
      what: 'Containers of a user without privileges, with his own id or the ranges of /etc/subuid',
      shownBy: [integration('runtime-rootless')],
    },
    { what: '`spec`, as runc writes it', shownBy: ['test/conformance/spec-command.test.ts'] },
    {
      what: '`features`, with the fields of runc 1.3',
      shownBy: ['test/conformance/features-command.test.ts'],
    },
    {
      what: 'Namespaces, mounts, devices, capabilities, rlimits, seccomp, terminals, hooks of config.json',
      shownBy: [integration('runtime-*')],
    },
    {
      what: 'cgroup v1 limits, freezing, device rules, statistics',
      shownBy: [integration('cgroups'), integration('runtime-limits')],
    },
    {
      what: '`--explain`: the system calls of a create, run or exec, before they are made; `--trace FILE`, also of a restore: what was made, with results and times',
      shownBy: [
        integration('runtime-trace'),
        'internal/linux/trace.test.ts',
        'internal/linux/program/*.test.ts',
        'internal/runtime/init-program.test.ts',
      ],
    },
    {
      what: 'Containers as one pass over an array of system calls, from checked machine code',
      shownBy: [integration('trampoline*')],
    },
    {
      what: '`checkpoint`, `restore`, where CRIU works',
      shownBy: [
        integration('runtime-checkpoint'),
        integration('runtime-checkpoint-flags'),
        integration('shim-restore'),
        'test/attack/checkpoint.test.ts',
      ],
    },
    {
      what: 'systemd as the cgroup driver (`--systemd-cgroup`)',
      shownBy: ['test/vm/systemd-cgroup.test.ts', 'internal/cgroups/systemd/*.test.ts'],
      note: 'in the virtual machine',
    },
    {
      what: "Containers of an unprivileged user with limits: by the user's own systemd, or in a cgroup delegated to the user",
      shownBy: ['test/vm/user-systemd.test.ts'],
      note: 'in the virtual machine',
    },
    {
      what: 'Shares of caches and memory bandwidth (`intelRdt`), counters of their use: groups of resctrl',
      shownBy: [integration('runtime-resctrl'), 'internal/cgroups/resctrl.test.ts'],
      note: 'with a resctrl in memory: no machine here has a CPU that can allocate its caches',
    },
    {
      what: 'AppArmor profiles, of containers and of exec',
      shownBy: ['test/vm/apparmor.test.ts'],
      note: 'in the virtual machine',
    },
  ],
  '`containerd-shim-tsrunc-v2`, the shim': [
    {
      what: "Under Debian's containerd 2.1 and 1.6, driven by `ctr`",
      shownBy: [integration('shim-containerd'), integration('ttrpc-interop')],
    },
    {
      what: "Checkpoint by `ctr` under Debian's containerd 2.1 and 1.6, and restore under 2.1 (1.6 restores over no shim), where CRIU works",
      shownBy: [integration('shim-containerd-checkpoint')],
    },
    {
      what: 'Start, grouping by sandbox, the start protocols of containerd 1.x to 2.3: the contract, sentence by sentence',
      shownBy: [integration('shim-start'), 'test/conformance/shim-contract.test.ts'],
    },
    {
      what: 'The sandbox service: a pause container of the shim itself; under containerd 2.1 (`sandboxer = "shim"`) with tasks in it',
      shownBy: [integration('shim-sandbox')],
    },
    {
      what: "Wrong calls get the codes of containerd's shims 2.1 and 1.6, and where they are the shim's own the words",
      shownBy: ['test/conformance/task-errors.test.ts'],
    },
    {
      what: 'Under Docker 28 (`runtimeType`): run, exec, logs, stop, restart policies, health checks, live-restore',
      shownBy: [integration('shim-docker')],
    },
    {
      what: "Each of runc's options, over tsrunc, runc and crun",
      shownBy: [integration('shim-options'), integration('shim-start'), integration('shim-stdio')],
    },
    {
      what: 'Tasks and execs over tsrunc, runc, crun and runsc; exits of processes that die before their start is answered',
      shownBy: [integration('shim-life'), integration('shim-runsc')],
    },
    {
      what: 'The same with tsrunc inside of the shim (`InProcess`): no program is started, not for updates, checkpoints and restores either',
      shownBy: [
        integration('shim-in-process'),
        integration('shim-life'),
        integration('shim-stdio'),
        integration('shim-options'),
        integration('shim-log'),
        integration('shim-start'),
        integration('shim-restore'),
      ],
    },
    {
      what: 'Tasks in scopes of systemd, in both ways: limits, updates, units that are in use',
      shownBy: ['test/vm/shim-systemd.test.ts'],
      note: 'in the virtual machine',
    },
    {
      what: 'What throws on the way of an output is told, and the output goes on',
      shownBy: ['internal/shim/pump-faults.test.ts'],
    },
    {
      what: 'Statistics of tasks on cgroup v2: each number is that of the kernel, in both ways',
      shownBy: ['test/vm/shim-metrics.test.ts'],
      note: 'in the virtual machine',
    },
    {
      what: 'Agents for seccomp (`SCMP_ACT_NOTIFY`) in both ways: one that is busy holds up only its own container',
      shownBy: [integration('shim-seccomp-agent')],
    },
    {
      what: 'A file system that never answers holds up the one request that needs it, until its deadline',
      shownBy: ['test/faults/shim-hanging-files.test.ts'],
    },
    {
      what: 'Output to fifos, terminals, `file://` and `binary://`, complete to the last byte',
      shownBy: [integration('shim-*')],
    },
    {
      what: 'Log files of its own (`cri://`), rotated on request, through a full disk, beside attached clients',
      shownBy: [integration('shim-log')],
    },
    {
      what: 'A soak (`make soak`): containers and execs in a loop leave no process, mount, cgroup, descriptor, socket or directory',
      shownBy: ['test/soak/soak.test.ts'],
      note: 'in short; ten minutes by `make soak`',
    },
    {
      what: 'The private memory of a shim stays within 2 MB over thousands of execs',
      shownBy: ['test/soak/soak-execs.test.ts'],
      note: 'in short; 10,000 by `SHIM_EXECS=10000`',
    },
  ],
  '`tscontainerd`, the daemon': [
    {
      what: 'Content, images, containers, leases, namespaces, events, as containerd answers',
      shownBy: ['test/conformance/*.test.ts'],
    },
    {
      what: 'Unmodified `ctr` of Debian, 2.1 and 1.6: images, containers, tasks, terminals, leases, plugins',
      shownBy: [integration('daemon-ctr'), integration('images-*'), integration('tasks-ctr')],
    },
    {
      what: '`tsctr`, a client in the same program: ctr’s commands, flags, output and exit codes row by row, on our daemon and on containerd 2.1; JSON, hints, progress, shell completion',
      shownBy: [
        integration('tsctr-*'),
        'internal/client/*.test.ts',
        'test/conformance/tsctr-help.test.ts',
      ],
      note: 'but for `shim`, `install` and the flags that tsctr-help lists with its reasons',
    },
    {
      what: '`tsctr images convert`: to OCI, uncompressed, zstd, fewer platforms; digests as with `ctr images convert`',
      shownBy: [integration('tsctr-convert')],
    },
    {
      what: 'Snapshots: overlayfs and native; layers unpacked to the tree that containerd makes',
      shownBy: [integration('snapshotters'), integration('layers')],
    },
    {
      what: 'Snapshots as subvolumes of btrfs, as containerd 2.1 makes them',
      shownBy: [integration('snapshotter-btrfs')],
      note: 'where the root of the snapshotter is on btrfs',
    },
    {
      what: 'Snapshots as thin devices of the device mapper, by the command line of dmsetup',
      shownBy: [
        integration('snapshotter-devmapper'),
        'internal/server/modules/devmapper-settings.test.ts',
      ],
      note: 'by recorded commands; on a real thin pool in the virtual machine',
    },
    {
      what: 'Snapshots as file systems of ZFS, by the command line of zfs',
      shownBy: [integration('snapshotter-zfs')],
      note: 'the commands and what zfs says to them; not yet on a machine with ZFS',
    },
    {
      what: 'Snapshotters in other processes (`proxy_plugins`); what a remote one has is not fetched',
      shownBy: [integration('proxy-snapshotter')],
    },
    {
      what: 'Encrypted layers: decrypted by a program of `[stream_processors]` for every client that unpacks, with what imgcrypt gives it',
      shownBy: [integration('stream-processors'), 'internal/snapshots/stream-processors.test.ts'],
    },
    {
      what: 'Pushes: manifests, tags, mounted and skipped blobs as with containerd 2.1; layers that are elsewhere (`urls`), without credentials',
      shownBy: [integration('push-twins')],
    },
    {
      what: 'Registries: hosts.toml and the older tables, TLS, passwords, tokens, Docker’s config.json; one error that says what to do',
      shownBy: [integration('registry-*'), integration('images-pull')],
    },
    {
      what: "Tasks over our shim and over Debian's containerd-shim-runc-v2",
      shownBy: [integration('tasks-*')],
    },
    {
      what: 'A daemon that stops, crashes or is killed at any step finds its shims and tasks again',
      shownBy: [integration('tasks-restart'), integration('daemon-*')],
    },
    {
      what: 'CRI: pods on the host network, containers, logs, `ExecSync`, images; exec, attach and port forwarding over SPDY and WebSocket; found again after SIGKILL of the daemon',
      shownBy: [integration('cri-*')],
    },
    {
      what: "CRI: streams in every version of remotecommand (v1 to v5, SPDY and WebSocket), with TLS (files or a self-made certificate), for `crictl` 1.36 and Debian's `kubectl` 1.36 and 1.20: exec, attach, port-forward, logs",
      shownBy: [
        'test/integration/cri-kubectl.test.ts',
        'test/integration/cri-stream-protocols.test.ts',
        'internal/streaming/*.test.ts',
      ],
    },
    {
      what: 'CRI: logs in lines of the CRI or of JSON (`log_format = "json"`), cut at `max_container_log_line_size`, rotated and attached to at once',
      shownBy: ['test/integration/cri-logs.test.ts', 'test/integration/shim-log.test.ts'],
    },
    {
      what: 'CRI: events of pods and containers in order, to every reader; the Stream calls answer as the lists do',
      shownBy: ['test/integration/cri-events.test.ts'],
    },
    {
      what: 'CRI: keys of its configuration: devices of the user, huge pages, `/proc`, cgroups, network namespaces, networks and snapshotters of a runtime, TCP, pulls; options of mounts',
      shownBy: [
        'internal/cri/spec-settings.test.ts',
        'test/integration/cri-settings.test.ts',
        'test/integration/cri-image-pulls.test.ts',
        'test/conformance/config-keys.test.ts',
      ],
      note: 'the others that containerd has are told to have no effect, and why',
    },
    {
      what: 'CRI: SELinux labels of pods and containers, a pair of categories for each pod, volumes relabelled',
      shownBy: ['internal/cri/selinux-labels.test.ts', 'test/integration/cri-settings.test.ts'],
      note: 'decisions and labelling only: no machine here enforces SELinux',
    },
    {
      what: 'CRI: networks of pods by CNI plugins: ports, bandwidth, DNS; addresses are given back whatever fails, after SIGKILL of the daemon at any step too',
      shownBy: [
        'test/integration/cri-networks.test.ts',
        'test/faults/cri-killed-daemon.test.ts',
        'internal/cri/pod-network.test.ts',
      ],
    },
    {
      what: 'CRI: statistics and metrics of pods and containers, with the fields that containerd has; counts of its calls; the metrics that a kubelet takes from cAdvisor otherwise',
      shownBy: ['test/integration/cri-stats.test.ts'],
    },
    {
      what: 'CRI: calls to pods and containers that have ended, or end meanwhile, have the codes by which a kubelet decides: those of containerd 2.1, and one where that has none',
      shownBy: ['test/conformance/cri-late-calls.test.ts', integration('cri-late-calls')],
    },
    {
      what: "CRI: requests become OCI specs, row by row; CDI devices; volumes that images declare, images as volumes; an administrator's base spec",
      shownBy: [
        'internal/cri/spec-translation.test.ts',
        'internal/cri/spec-mounts.test.ts',
        'internal/cri/cdi-devices.test.ts',
        'test/integration/cri-volumes.test.ts',
      ],
    },
    {
      what: 'Unmodified `crictl` 1.36, every subcommand: the answers of containerd 2.1',
      shownBy: ['test/conformance/crictl.test.ts'],
    },
    {
      what: 'CRI: images that cannot be pulled, a daemon that does not answer, another cgroup driver, a full disk, a RuntimeClass that is not there: what `crictl` shows says what to do, and that helps',
      shownBy: [integration('runbooks')],
    },
    {
      what: '`critest` 1.36, the validation suite of the CRI: every spec passes that can run without AppArmor',
      shownBy: ['test/conformance/critest/critest.test.ts'],
    },
    {
      what: 'CRI: checkpoints of running containers as archives (`crictl checkpoint`), and containers that are made of such an archive of root, or with `enable_checkpoint_images` of an image of one: it gives memory, files and the log, the request all else; the last logs of CRIU stay where errors say; where CRIU works',
      shownBy: [
        integration('cri-checkpoint'),
        integration('cri-checkpoint-images'),
        integration('cri-checkpoint-errors'),
      ],
    },
    {
      what: '`tscontainerd config explain IMAGE`: the hosts that would be tried, in order, and why; no key of the configuration is ignored in silence',
      shownBy: [integration('config-explain'), 'test/conformance/config-keys.test.ts'],
    },
    {
      what: 'Checkpoints as images and in directories, and restoring from them in another container (`ctr containers checkpoint`, `restore`), where CRIU works',
      shownBy: [integration('tasks-checkpoint')],
    },
    {
      what: 'Sandbox controller over shims that have the sandbox service; gRPC reflection and health',
      shownBy: [integration('shim-sandbox'), integration('daemon-reflection')],
    },
    {
      what: 'Every method of every service, called wrongly, answers with the code of containerd 2.1 and names the object',
      shownBy: ['test/conformance/api-errors.test.ts'],
    },
    {
      what: "Under Debian's Docker 28 and 20 (`dockerd --containerd=SOCKET`): images, build, run, exec, logs, stop, prune; with Docker's images in the daemon's own stores",
      shownBy: [integration('daemon-docker')],
    },
    {
      what: 'A full node (`make soak-pods`): 110 pods of two containers, then 50 of them with an exec probe a second each; none fails, and nothing is left',
      shownBy: ['test/soak/soak-pods.test.ts'],
      note: 'in short; five minutes by `make soak-pods`',
    },
    {
      what: 'A shim is started when its container is created, and with `spare_shim` before: the next task gets it; without one, or with its daemon, it ends',
      shownBy: [integration('cri-spare-shim'), integration('tasks-shim-ahead')],
    },
    {
      what: 'CRI: a record that is damaged, or a disk that is full, costs one pod and not the node, nor its name; making a container mounts nothing',
      shownBy: [
        integration('cri-restart'),
        'test/faults/cri-full-disk.test.ts',
        integration('cri-create-mounts'),
      ],
    },
    {
      what: 'The systemd unit: ready when it serves; containers live on while systemd restarts the daemon, sees it die and stops it',
      shownBy: ['test/vm/daemon-unit.test.ts'],
      note: 'in the virtual machine',
    },
    {
      what: '`tscontainerd doctor disk` tells whose each byte is (images, containers, leases, unfinished blobs), while the daemon runs',
      shownBy: [integration('doctor-disk')],
    },
    {
      what: "`tscontainerd fsck` finds what a stopped daemon's data lack",
      shownBy: [integration('fsck')],
    },
    {
      what: "Metrics under containerd's names, the debug socket, logs as JSON or text, a listener on TCP with TLS",
      shownBy: [integration('daemon-observability')],
    },
    {
      what: 'What the daemon needed for its work goes back to the kernel when nobody has called it for three seconds',
      shownBy: [integration('daemon-idle-memory')],
    },
    { what: 'NRI', shownBy: [] },
  ],
};

/** The files that a row names. */
export function filesOf(pattern: string, all: readonly string[]): string[] {
  const literal = pattern.split('*').map((part) => part.replace(/[.]/g, '\\$&'));
  const expression = new RegExp(`^${literal.join('[^/]*')}$`);
  return all.filter((path) => expression.test(path));
}

/** Lines that stand before and after the table in the README. */
export const markers = {
  begin: '<!-- made by: node test/conformance/table.ts --write -->',
  end: '<!-- end of the table -->',
} as const;
