// The attacks that this project withstands, and which test tries each: a file of the repository and a part of the
// test's name. attacks.test.ts holds the table to the tests.

/** An attack, by its numbers or a name, and the tests that try it. */
export interface Attack {
  readonly id: string;
  readonly what: string;
  readonly triedBy: readonly (readonly [file: string, testName: string])[];
}

const attack = (name: string) => `test/attack/${name}.test.ts`;
const DOCUMENTS = 'test/integration/images-pull-documents.test.ts';
const PASSWORDS = 'test/integration/images-pull-passwords.test.ts';
const CHECKPOINTS = 'test/integration/cri-checkpoint.test.ts';
const SYMLINKS: Attack['triedBy'] = [
  [attack('lying-rootfs'), 'symlink to the host'],
  [attack('lying-rootfs-exec'), 'symlinks to the host'],
];

/** Those on a runtime, create and exec where both are open to it; on the CRI; and by images. */
export const attacks: readonly Attack[] = [
  {
    id: 'CVE-2019-5736',
    what: 'write the runtime through /proc/self/exe',
    triedBy: [
      [attack('host-binary'), 'a container that waits for start'],
      [attack('host-binary'), 'against a watcher that races them'],
      [attack('host-binary'), 'is executed: there is no runtime behind /proc/self/exe'],
    ],
  },
  {
    id: 'CVE-2024-21626',
    what: 'a leaked descriptor and the working directory /proc/self/fd/N',
    triedBy: [
      [attack('leaked-descriptors'), 'the attack is one'],
      [attack('leaked-descriptors'), 'exec with cwd /proc/self/fd/N: refused for N from 3'],
      [attack('leaked-descriptors'), 'create with cwd /proc/self/fd/N: refused for N from 3'],
      [attack('leaked-descriptors'), 'which inherits 253 directories of the host'],
      [attack('leaked-descriptors'), 'the process has stdin, stdout and stderr, and nothing else'],
    ],
  },
  {
    id: 'CVE-2022-29162, crun CVE-2022-27650, moby CVE-2022-24769',
    what: 'inheritable capabilities that are not empty',
    triedBy: [[attack('exec-users'), 'no inheritable capabilities, in run and exec']],
  },
  {
    id: 'CVE-2021-43784',
    what: 'length overflow in the bootstrap message',
    triedBy: [[attack('runtime-config'), 'more than 64 KiB of mappings']],
  },
  {
    id: 'crun CVE-2026-30892',
    what: 'a user of exec that is read as another one',
    triedBy: [
      [attack('exec-users'), 'exactly these ids, and no groups of the image'],
      [attack('exec-users'), 'is refused, although the image knows it'],
      [attack('exec-users'), 'exec --process: ids that wrap to root'],
    ],
  },
  {
    id: 'CVE-2019-16884, CVE-2019-19921, CVE-2023-27561, CVE-2023-28642',
    what: '/proc or /sys covered or a symlink, so that labels and masks go to a fake',
    triedBy: [
      ...SYMLINKS,
      [attack('lying-rootfs'), 'is a symlink inside the image: refused'],
      [attack('covered-procfs'), 'a volume on'],
      [attack('covered-procfs'), 'a tmpfs on /proc'],
      [attack('covered-procfs'), 'runc refuses the same volumes'],
      [attack('lying-rootfs-exec'), '/proc of the container is a tmpfs'],
    ],
  },
  {
    id: 'CVE-2021-30465',
    what: 'the target of a mount is swapped',
    triedBy: [
      [attack('mount-races'), 'the attack is one'],
      [attack('mount-races'), 'mounts below a directory that is exchanged'],
    ],
  },
  {
    id: 'CVE-2024-45310',
    what: 'a race while mount points are made makes files on the host',
    triedBy: [[attack('mount-races'), 'mounts below a directory that is exchanged']],
  },
  {
    id: 'CVE-2025-31133, youki CVE-2025-62161',
    what: "masking with the container's own /dev/null",
    triedBy: [[attack('lying-rootfs'), 'masked paths are masked by the real /dev/null']],
  },
  {
    id: 'CVE-2025-52565',
    what: "/dev/console bound over an attacker's /dev/pts/N",
    triedBy: [
      [attack('lying-rootfs'), 'a terminal on an image whose /dev/pts is a directory'],
      [attack('covered-procfs'), 'a terminal with'],
      ...SYMLINKS,
    ],
  },
  {
    id: 'CVE-2025-52881, youki CVE-2025-62596',
    what: 'writes of labels and sysctls that are led elsewhere',
    triedBy: [
      [attack('covered-procfs'), 'a volume on'],
      [attack('covered-procfs'), 'the sysctl is real'],
      [attack('sysctl-race'), 'sysctls are written while'],
      [attack('label-race'), 'exec while root of the container covers /proc'],
      [attack('label-race'), 'create while /proc/self of the image is exchanged'],
      [attack('lying-rootfs-exec'), '/proc of the container is a tmpfs'],
    ],
  },
  {
    id: 'CVE-2026-41579, crun CVE-2026-47766, crun CVE-2026-88264, crun CVE-2026-88265',
    what: '/dev or a file of it is a symlink',
    triedBy: SYMLINKS,
  },
  {
    id: 'CVE-2026-119101, crun CVE-2026-115520, CRIU CVE-2026-119614',
    what: 'symlinks confuse the names of external mounts in a checkpoint',
    triedBy: [
      [attack('checkpoint'), 'a destination that is a symlink'],
      [attack('checkpoint'), 'the place of a mount is moved away'],
    ],
  },
  {
    id: 'CVE-2023-25809',
    what: 'rootless without a cgroup namespace leaves /sys/fs/cgroup writable',
    triedBy: [
      ['test/integration/runtime-rootless.test.ts', 'cgroups of the host cannot be written'],
    ],
  },
  {
    id: 'CVE-2026-47262',
    what: 'a huge /etc/passwd',
    triedBy: [['internal/runtime/home-directory.test.ts', 'passwd']],
  },
  {
    id: 'CVE-2024-40635, CVE-2026-46680',
    what: 'a USER beyond 32 bits, or a number that is a name, becomes root',
    triedBy: [['internal/cri/image-user.test.ts', 'resolveIdentity: ']],
  },
  {
    id: 'CVE-2026-47262, CRI-O CVE-2025-4437, in the CRI',
    what: 'a huge /etc/passwd of an image',
    triedBy: [
      [attack('cri'), 'a huge /etc/passwd is not read'],
      [
        'internal/rootfs/layered-files.test.ts',
        'refuses loops, what is no file, and what is too large',
      ],
    ],
  },
  {
    id: 'CVE-2022-23648',
    what: 'a VOLUME or a link of an image that leads to files of the host',
    triedBy: [
      ['test/integration/cri-volumes.test.ts', 'a volume that leads out of the image'],
      ['test/integration/cri-volumes.test.ts', 'is refused, and nothing is left'],
    ],
  },
  {
    id: 'CVE-2021-21334',
    what: 'environment shared by containers that are made at once',
    triedBy: [
      [attack('cri'), 'containers that are made at once have each their own environment'],
      [attack('task-isolation'), 'containers made at once see their own environment alone'],
    ],
  },
  {
    id: 'CVE-2022-31030, CRI-O CVE-2022-1708, GHSA-7jxh-36q5-gcqv',
    what: 'a probe that floods the daemon, or leaves children that hold its output',
    triedBy: [
      [attack('cri'), 'a probe that prints without end'],
      [attack('cri'), 'probes that leave children behind are answered'],
    ],
  },
  {
    id: 'CVE-2026-53488',
    what: 'labels of images and pods by which the daemon or its clients act',
    triedBy: [[attack('cri'), 'labels of an image or a pod are no labels of the daemon']],
  },
  {
    id: 'CVE-2026-53492',
    what: 'names of CDI devices from elsewhere than the request',
    triedBy: [['internal/cri/cdi-devices.test.ts', 'are those of the field and of annotations']],
  },
  {
    id: 'CRI-O CVE-2022-4318, CVE-2026-15809',
    what: 'a line break in HOME becomes a line of /etc/passwd',
    triedBy: [[attack('cri'), 'a HOME with a line break']],
  },
  {
    id: 'CRI-O CVE-2023-6476, CVE-2024-3154, CVE-2022-0811',
    what: 'annotations and sysctls that steer the runtime or the host',
    triedBy: [
      [attack('cri'), 'annotations of a pod do not reach the runtime'],
      ['internal/cri/sandbox-spec.test.ts', 'refuses the sysctl'],
    ],
  },
  {
    id: 'what a log tells',
    what: 'credentials of a pull in logs, files and answers',
    triedBy: [['test/integration/cri-image-pulls.test.ts', 'stand nowhere']],
  },
  {
    id: 'CVE-2021-43816',
    what: 'files of the host are relabelled',
    triedBy: [
      ['internal/cri/selinux-labels.test.ts', 'links themselves and nothing behind them'],
      ['internal/cri/selinux-labels.test.ts', 'labels what the daemon made'],
    ],
  },
  {
    id: 'CVE-2022-23471, CVE-2025-64329',
    what: 'clients that break off leave descriptors and processes behind',
    triedBy: [
      [attack('cri-streams'), 'attached clients that break off'],
      [attack('cri-streams'), 'commands whose clients break off'],
      [attack('cri-streams'), 'URLs that nobody calls for'],
      ['test/integration/shim-log.test.ts', 'attached clients that break off leave no handle'],
    ],
  },
  {
    id: 'CVE-2023-25173, CRI-O CVE-2022-2995',
    what: 'supplementary groups that were meant to be denied',
    triedBy: [
      [
        attack('cri-streams'),
        'the groups of a process, and of what is executed beside it, are those',
      ],
      ['internal/cri/image-user.test.ts', 'resolveIdentity: '],
    ],
  },
  {
    id: 'CVE-2020-15257',
    what: 'a socket of the shim that containers of the host network reach',
    triedBy: [['test/integration/shim-start.test.ts', 'CVE-2020-15257']],
  },
  {
    id: 'CVE-2021-41103, CVE-2024-25621',
    what: 'directories of the daemon that users traverse',
    triedBy: [[attack('daemon-directories'), 'an unprivileged user reaches nothing']],
  },
  {
    id: 'CVE-2026-53489, CVE-2026-53492, CVE-2026-50195, CVE-2026-95837, CRI-O CVE-2026-92574, CVE-2024-8676',
    what: 'a checkpoint that brings a spec, names, mounts or links of its own',
    triedBy: [
      [
        CHECKPOINTS,
        'the spec, the mounts, the names and the annotations of an archive do not count',
      ],
      [CHECKPOINTS, 'processes that may do more than the new container are not restored'],
      [CHECKPOINTS, 'what is no archive of root, or no checkpoint, is refused'],
      [CHECKPOINTS, 'a link in the place of the log is not followed'],
      [
        'test/integration/cri-checkpoint-images.test.ts',
        'none is taken unless the configuration says so, and the error says what to do',
      ],
    ],
  },
  {
    id: 'NODE_*, OPENSSL_*, LD_* in the environment',
    what: 'code that a Node program would run as root',
    triedBy: [
      [attack('hostile-environment'), 'change nothing'],
      [attack('hostile-environment'), 'do not bring in code'],
      [attack('hostile-environment'), 'under a hostile environment'],
      [attack('hostile-environment'), 'NODE_* and LD_* in the image'],
      ['build/sea.test.ts', 'the environment cannot bring in code'],
    ],
  },
  {
    id: 'a swapped koffi file',
    what: 'native code of another user is loaded',
    triedBy: [
      [attack('hostile-environment'), 'a koffi.node that another user has put'],
      ['internal/linux/addon-file.test.ts', 'openSharedAddon refuses'],
      ['internal/linux/addon-file.test.ts', 'is replaced, not written to'],
    ],
  },
  {
    id: '__proto__ as a name',
    what: 'a key that is no key changes an object',
    triedBy: [
      [attack('runtime-config'), '__proto__, constructor and the like are only names'],
      [attack('runtime-config'), '__proto__ as a sysctl'],
      [attack('daemon-input'), '__proto__, constructor and the like are names as any other'],
    ],
  },
  {
    id: 'a fixed hash seed meets crafted keys',
    what: 'quadratic time for one configuration',
    triedBy: [
      [attack('names-from-containers'), 'the attack: V8 with the hashes of tsrunc'],
      [attack('names-from-containers'), 'keys of config.json that collide'],
    ],
  },
  {
    id: 'numbers beyond 2^53',
    what: 'limits that are rounded or wrap',
    triedBy: [
      [attack('runtime-config'), 'numbers that would wrap'],
      [attack('runtime-config'), 'update --resources: numbers that would wrap'],
      [attack('exec-users'), 'exec --process: ids that wrap to root'],
      [attack('daemon-input'), 'sizes and offsets that are negative or beyond 2^53'],
    ],
  },
  {
    id: 'long and odd strings of /proc',
    what: 'names that a container chose mislead who parses them',
    triedBy: [
      [attack('names-from-containers'), 'a process named'],
      [attack('names-from-containers'), 'mount points as long as paths may be'],
      [attack('names-from-containers'), "the runtime's own paths"],
    ],
  },
  {
    id: 'CVE-2021-32760, CVE-2018-15664',
    what: 'a layer that changes or writes files outside through links of its own',
    triedBy: [
      [attack('layers'), 'mode and owner of a link'],
      [attack('layers'), 'mode through a hard link to a link'],
      [attack('layers'), 'a hard link to a link, written to'],
      [attack('layers'), 'reaches nothing outside'],
    ],
  },
  {
    id: 'CVE-2026-95838',
    what: 'opaque whiteouts over and over',
    triedBy: [
      [attack('layers'), '100 000 opaque whiteouts over a large directory take linear time'],
      [attack('layers'), 'nested opaque whiteouts from below take linear time'],
    ],
  },
  {
    id: 'CVE-2020-15157',
    what: 'the password of a registry for a foreign host',
    triedBy: [
      [
        attack('images'),
        'a layer’s urls lead elsewhere only for what the registry lacks, and without its password',
      ],
      [PASSWORDS, 'a password is not sent to a host that a redirect names'],
      ['internal/registry/registry-http.test.ts', 'Authorization goes to its own origin only'],
      ['internal/registry/registry-session.test.ts', 'on another origin gets no header'],
    ],
  },
  {
    id: 'CVE-2021-41190',
    what: 'a document that is a manifest to one reader and an index to another',
    triedBy: [
      [DOCUMENTS, 'both layers and manifests'],
      [DOCUMENTS, 'another media type inside'],
    ],
  },
  {
    id: 'CVE-2023-25153, GO-2026-6597',
    what: 'archives and indexes without an end',
    triedBy: [
      [attack('images'), 'has a gibibyte is refused unread'],
      [attack('images'), 'whose extended header has a gibibyte'],
      [attack('images'), 'a hundred thousand links'],
      [DOCUMENTS, 'indexes in indexes are followed to a limit'],
      [DOCUMENTS, 'a graph of indexes that multiplies is visited once each'],
    ],
  },
];
