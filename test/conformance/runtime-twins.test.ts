// The same bundle under runc and under tsrunc: a probe inside tells all that it can see, and the two tell the same, in
// the container's first process and in one that exec puts there. What is meant to differ is named here with its reason.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';

const runc = peer('runc-1.3');
const skip = needsRoot !== false ? needsRoot : runc.skip;
const options = { skip };
const ours = skip === false ? new RuntimeFixture() : undefined;
const theirs = skip === false ? new RuntimeFixture([runc.path]) : undefined;
// runc makes mounts as the mapped root, which must reach the bundle.
for (const fixture of [ours, theirs])
  if (fixture !== undefined) chmodSync(fixture.directory, 0o755);
after(() => {
  ours?.[Symbol.dispose]();
  theirs?.[Symbol.dispose]();
});

/** One section for each subject; `@` begins one. Runs without a shell's own traces where these would show. */
const PROBE = `
say() { echo "@$1"; }
say status; grep -E '^(Umask|Uid|Gid|Groups|Sig(Pnd|Blk|Ign|Cgt)|Cap|NoNewPrivs|Seccomp|Cpus_allowed_list|Mems_allowed_list|THP)' /proc/self/status
say limits; cat /proc/self/limits
say environment; env | sort
say fds; for fd in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && echo $fd $(readlink /proc/$$/fd/$fd); done
say mounts; cat /proc/self/mountinfo
say cgroup; sed 's/:.*:/:/' /proc/self/cgroup | sort
say dev; ls -ln /dev /dev/pts /dev/shm | tr -s ' ' | cut -d' ' -f1-6,10-
say files; ls -lnd / /proc /sys /dev /tmp | tr -s ' ' | cut -d' ' -f1,3,4,9-
say oom; cat /proc/self/oom_score_adj
say host; hostname; cat /proc/sys/kernel/domainname
say session; cut -d' ' -f5,6,7,8 /proc/$$/stat
say schedule; cut -d' ' -f18,19,40,41 /proc/self/stat
say personality; cat /proc/self/personality 2>/dev/null
say coredump; cat /proc/self/coredump_filter
say net; cat /proc/net/dev | tr -s ' ' | cut -d' ' -f2 | sort
say masked; head -c 1 /proc/keys | wc -c; ls /proc/acpi /sys/firmware | wc -l
say readonly; for f in /proc/sys /proc/bus /proc/irq; do [ -w $f ] && echo $f; done
say namespaces; for n in cgroup ipc mnt net pid time user uts; do echo $n; readlink /proc/self/ns/$n; done
say maps; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups /proc/self/timens_offsets 2>/dev/null
say sysctls; cd /proc/sys; for f in net/ipv4/ip_forward net/ipv4/ip_unprivileged_port_start net/ipv4/tcp_syncookies kernel/shm_rmid_forced kernel/msgmax kernel/shmmni fs/mqueue/msg_max; do echo $f $(cat $f); done; cd - >/dev/null
say keyrings; grep ' _ses\\.' /proc/keys 2>/dev/null | sed 's/^.* perm //'
say machine; uname -m
say copies; ls -lnR /etc /var | tr -s ' ' | cut -d' ' -f1-5,9-
say cwd; pwd
say label; cat /proc/self/attr/current 2>/dev/null
`;

type Sections = Map<string, string[]>;

function sections(output: string): Sections {
  const found: Sections = new Map();
  let current: string[] = [];
  for (const line of output.split('\n')) {
    if (line.startsWith('@')) {
      current = [];
      found.set(line.slice(1), current);
    } else if (line !== '') current.push(line);
  }
  return found;
}

/** Ids and paths that two containers never share. */
function normalize(name: string, lines: readonly string[], runtime: RuntimeFixture): string[] {
  return lines
    .map((line) =>
      line.replaceAll(runtime.directory, 'DIRECTORY').replaceAll(/[a-z]+-\d+-\d+/g, 'ID'),
    )
    .map((line) => (name === 'mounts' ? normalizeMount(line) : line))
    .map((line) => (name === 'fds' ? descriptor(line) : line))
    .map((line) => (name === 'namespaces' ? namespace(line) : line))
    .map((line) => (name === 'session' ? line.replaceAll(/\d+/g, 'N') : line))
    .map((line) => (line.startsWith('SigIgn:') ? withoutLibcSignals(line) : line))
    .sort();
}

/**
 * The signals 32 and 33 belong to glibc. make(1) hands them on as ignored to whatever it starts, and
 * runc to the container; tsrunc resets every signal. So they are meant to differ below make.
 */
function withoutLibcSignals(line: string): string {
  const ignored = BigInt(`0x${line.split('\t')[1]}`);
  return `SigIgn:\t${(ignored & ~(3n << 31n)).toString(16)}`;
}

/**
 * In the foreground runc puts pipes of its own between its caller's stdio and the container's, and copies; tsrunc gives the
 * container the caller's. So what 0 to 2 refer to is meant to differ.
 */
function descriptor(line: string): string {
  return /^[012] /.test(line) ? line.slice(0, 1) : line.replace(/\[\d+\]/, '[N]');
}

/** A namespace by whether it is this process's own. */
function namespace(line: string): string {
  const [, type] = /^(\w+):\[\d+\]$/.exec(line) ?? [];
  if (type === undefined) return line;
  return `${type} ${line === readlinkSync(`/proc/self/ns/${type}`) ? 'of the host' : 'of its own'}`;
}

/** Without mount and device numbers; options in order. */
function normalizeMount(line: string): string {
  const [before = '', after = ''] = line.split(' - ');
  const [, , , root, place, mountOptions] = before.split(' ');
  const [type, source, superOptions] = after.split(' ');
  const sorted = (text = '') => text.split(',').sort().join();
  return [place, root, sorted(mountOptions), type, source, sorted(superOptions)].join(' ');
}

/** What is meant to be otherwise, by section: a line is left out of both sides where this says so. */
const MEANT: Readonly<Record<string, (line: string) => boolean>> = {
  // A masked file is the host's own /dev/null, read-only, since the container's may be swapped (CVE-2025-31133). The
  // tmpfs with the hierarchies of cgroup v1 is read-only where that was asked for.
  mounts: (line) => line.split(' ')[1] === '/null' || line.startsWith('/sys/fs/cgroup '),
  // What is masked is a device, in both; its date is that of the node.
  copies: (line) => line.startsWith('crw'),
  // runc lets other processes of the same user search the session keyring; here the kernel's default stays.
  keyrings: (line) => / keyring +_ses\./.test(line),
  // In a user namespace message queues belong to its root and to its group 0; runc leaves their group unmapped.
  dev: (line) => /^drwxrwxrwt 2 0 (0|65534) 40 /.test(line),
};

/** Lines that only one side has, by section. */
function compare(one: Sections, other: Sections): void {
  const differences: Record<string, { tsrunc: string[]; runc: string[] }> = {};
  for (const name of new Set([...one.keys(), ...other.keys()])) {
    const isMeant = MEANT[name] ?? (() => false);
    const lines = (side: Sections, runtime: RuntimeFixture | undefined) =>
      normalize(name, side.get(name) ?? [], runtime as RuntimeFixture).filter(
        (line) => !isMeant(line),
      );
    const tsrunc = lines(one, ours);
    const runcs = lines(other, theirs);
    const difference = {
      tsrunc: tsrunc.filter((line) => !runcs.includes(line)),
      runc: runcs.filter((line) => !tsrunc.includes(line)),
    };
    if (difference.tsrunc.length + difference.runc.length > 0) differences[name] = difference;
  }
  assert.deepEqual(differences, {});
  assert.ok(one.size > 15, 'the probe has told something');
}

const BUNDLES: [string, (config: Config, runtime: RuntimeFixture) => void][] = [
  ['the default configuration', () => {}],
  [
    'a read-only root',
    ({ root }) => {
      root.readonly = true;
    },
  ],
  [
    'a user with groups and a umask',
    ({ process }) => {
      process.user = { uid: 1000, gid: 1000, additionalGids: [10, 20], umask: 0o77 };
      process.cwd = '/tmp';
    },
  ],
  [
    'no capabilities',
    ({ process }) => {
      process.capabilities = {};
    },
  ],
  [
    'all kinds of capabilities',
    ({ process }) => {
      const some = ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_RAW'];
      process.user = { uid: 1000, gid: 1000 };
      process.capabilities = {
        bounding: some,
        permitted: some,
        effective: some,
        inheritable: some,
        ambient: some,
      };
    },
  ],
  [
    'privileges may grow',
    ({ process }) => {
      process.noNewPrivileges = false;
    },
  ],
  [
    'limits',
    ({ process }) => {
      process.rlimits = ['NOFILE', 'CORE', 'SIGPENDING', 'MSGQUEUE'].map((name) => ({
        type: `RLIMIT_${name}`,
        soft: 4096,
        hard: 4096,
      }));
      process.oomScoreAdj = 200;
    },
  ],
  [
    'no limits',
    ({ process }) => {
      process.rlimits = [];
    },
  ],
  [
    'few namespaces',
    (config) => {
      config.linux.namespaces = [{ type: 'mount' }, { type: 'pid' }];
      config.hostname = undefined;
      config.mounts = config.mounts.filter(
        ({ type }: Config) => type !== 'sysfs' && type !== 'cgroup',
      );
    },
  ],
  [
    'a cgroup namespace',
    ({ linux }) => {
      linux.namespaces.push({ type: 'cgroup' });
    },
  ],
  [
    'a user namespace',
    (config) => {
      const mapping = [{ containerID: 0, hostID: 100000, size: 65536 }];
      config.linux.namespaces.push({ type: 'user' });
      config.linux.uidMappings = mapping;
      config.linux.gidMappings = mapping;
    },
  ],
  [
    'mounts of many kinds',
    (config, runtime) => {
      const source = join(runtime.directory, 'source');
      mkdirSync(source, { recursive: true });
      writeFileSync(join(source, 'file'), '');
      const mount = (destination: string, type: string, from: string, mountOptions: string[]) =>
        config.mounts.push({ destination, type, source: from, options: mountOptions });
      mount('/a', 'bind', source, ['rbind', 'ro']);
      mount('/b', 'bind', source, ['bind', 'nosuid', 'nodev', 'noexec', 'noatime']);
      mount('/c/d/file', 'bind', join(source, 'file'), ['bind']);
      mount('/e', 'tmpfs', 'tmpfs', ['size=1m', 'mode=700', 'nosuid']);
      mount('/f', 'tmpfs', 'tmpfs', ['ro', 'noexec']);
      mount('/g', 'bind', source, ['rbind', 'rshared']);
      mount('/h', 'bind', source, ['rbind', 'rro']);
    },
  ],
  [
    'devices',
    ({ linux }) => {
      linux.devices = [
        { type: 'c', path: '/dev/mine', major: 1, minor: 5, fileMode: 0o640, uid: 3, gid: 4 },
        { type: 'p', path: '/dev/pipe', fileMode: 0o600 },
      ];
    },
  ],
  [
    'names and sysctls',
    (config) => {
      config.hostname = 'a-host';
      config.domainname = 'a-domain';
      config.linux.sysctl = { 'net.ipv4.ip_forward': '1', 'kernel.shmmni': '1000' };
    },
  ],
  [
    'seccomp',
    ({ linux }) => {
      linux.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        architectures: ['SCMP_ARCH_X86_64'],
        syscalls: [{ names: ['chroot'], action: 'SCMP_ACT_ERRNO' }],
      };
    },
  ],
  [
    'root propagation slave',
    ({ linux }) => {
      linux.rootfsPropagation = 'slave';
    },
  ],
  [
    'root propagation private',
    ({ linux }) => {
      linux.rootfsPropagation = 'private';
    },
  ],
  [
    'scheduling',
    ({ process }) => {
      process.scheduler = { policy: 'SCHED_BATCH', nice: 3 };
      process.ioPriority = { class: 'IOPRIO_CLASS_IDLE', priority: 0 };
    },
  ],
];

const bind = (config: Config, destination: string, source: string, ...mountOptions: string[]) =>
  config.mounts.push({ destination, type: 'bind', source, options: mountOptions });

/** A directory of the test with a file in it. */
function sourceOf(runtime: RuntimeFixture): string {
  const source = join(runtime.directory, 'source');
  mkdirSync(source, { recursive: true });
  writeFileSync(join(source, 'file'), '');
  return source;
}

function withUser(config: Config): void {
  const mapping = [{ containerID: 0, hostID: 100000, size: 65536 }];
  config.linux.namespaces.push({ type: 'user' });
  config.linux.uidMappings = mapping;
  config.linux.gidMappings = mapping;
}

const MORE_BUNDLES: typeof BUNDLES = [
  [
    'recursive mount attributes',
    (config, runtime) => {
      const source = sourceOf(runtime);
      const attributes =
        'rro rnosuid rnodev rnoexec rnoatime rnodiratime rrelatime rstrictatime rnosymfollow';
      for (const name of attributes.split(' ')) bind(config, `/r/${name}`, source, 'rbind', name);
      bind(config, '/r/back', source, 'rbind', 'ro', 'nosuid', 'rrw', 'rsuid');
    },
  ],
  [
    'attributes of bind mounts',
    (config, runtime) => {
      const source = sourceOf(runtime);
      for (const name of [
        'nosymfollow',
        'nodiratime',
        'noatime',
        'relatime',
        'strictatime',
        'sync',
      ]) {
        bind(config, `/a/${name}`, source, 'bind', name);
      }
      bind(config, '/a/twice', source, 'bind', 'ro', 'rw', 'noexec', 'exec');
    },
  ],
  [
    'propagation of mounts',
    (config, runtime) => {
      const source = sourceOf(runtime);
      for (const name of ['shared', 'slave', 'private', 'unbindable']) {
        bind(config, `/p/${name}`, source, 'bind', name);
        bind(config, `/p/r${name}`, source, 'rbind', `r${name}`);
      }
    },
  ],
  [
    'new file systems with options',
    (config) => {
      const mount = (destination: string, type: string, ...mountOptions: string[]) =>
        config.mounts.push({ destination, type, source: type, options: mountOptions });
      mount('/n/tmpfs', 'tmpfs', 'nr_inodes=100', 'uid=3', 'gid=4', 'mode=1770', 'strictatime');
      mount('/n/plain', 'tmpfs');
      mount('/n/devpts', 'devpts', 'newinstance', 'ptmxmode=0600', 'mode=0620', 'gid=5');
      mount('/n/ramfs', 'ramfs', 'nosuid');
      mount('/n/mqueue', 'mqueue', 'noexec');
      mount('/n/sysfs', 'sysfs', 'ro', 'nosuid');
    },
  ],
  [
    'a tmpfs over what is there',
    (config) => {
      config.mounts.push({
        destination: '/etc',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['tmpcopyup'],
      });
      config.mounts.push({
        destination: '/var',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['ro', 'tmpcopyup'],
      });
    },
  ],
  [
    'users of a bind mount',
    (config, runtime) => {
      const source = sourceOf(runtime);
      writeFileSync(join(source, 'passwd'), 'root:x:0:0:root:/of-the-mount:/bin/sh\n');
      bind(config, '/etc/passwd', join(source, 'passwd'), 'bind');
    },
  ],
  [
    'mapped ids of a mount',
    (config, runtime) => {
      config.mounts.push({
        destination: '/idmap',
        type: 'bind',
        source: sourceOf(runtime),
        options: ['bind'],
        uidMappings: [{ containerID: 0, hostID: 1000, size: 10 }],
        gidMappings: [{ containerID: 0, hostID: 2000, size: 10 }],
      });
    },
  ],
  [
    'mapped ids of a mount in a user namespace',
    (config, runtime) => {
      withUser(config);
      const mapping = [{ containerID: 0, hostID: 100000, size: 65536 }];
      config.mounts.push({
        destination: '/var', // where it is already: the mapped root may not make it
        type: 'bind',
        source: sourceOf(runtime),
        options: ['rbind'],
        uidMappings: mapping,
        gidMappings: mapping,
      });
    },
  ],
  [
    'recursively mapped ids of a read-only mount',
    (config, runtime) => {
      config.mounts.push({
        destination: '/idmap',
        type: 'bind',
        source: sourceOf(runtime),
        options: ['rbind', 'ridmap', 'rro'],
        uidMappings: [{ containerID: 0, hostID: 1000, size: 10 }],
        gidMappings: [{ containerID: 0, hostID: 2000, size: 10 }],
      });
    },
  ],
  [
    'hooks at every point',
    (config) => {
      const points = [
        ...['prestart', 'createRuntime', 'createContainer', 'startContainer'],
        ...['poststart', 'poststop'],
      ];
      const hook = { path: '/bin/sh', args: ['sh', '-c', 'exit 0'], env: ['A=b'], timeout: 60 };
      config.hooks = Object.fromEntries(points.map((point) => [point, [hook]]));
    },
  ],
  [
    'root propagation shared',
    ({ linux }) => {
      linux.rootfsPropagation = 'shared';
    },
  ],
  [
    'root propagation rslave, unbindable',
    ({ linux }) => {
      linux.rootfsPropagation = 'rslave';
    },
  ],
  [
    'a time namespace',
    ({ linux }) => {
      linux.namespaces.push({ type: 'time' });
      linux.timeOffsets = { boottime: { secs: 86400 }, monotonic: { secs: 60, nanosecs: 5 } };
    },
  ],
  [
    "the host's network and ipc namespaces",
    (config) => {
      config.linux.namespaces = config.linux.namespaces.filter(
        ({ type }: Config) => type !== 'network' && type !== 'ipc',
      );
    },
  ],
  [
    'a user namespace with a user, groups and limits',
    (config) => {
      withUser(config);
      config.process.user = { uid: 5, gid: 6, additionalGids: [7, 65534], umask: 0o27 };
      config.process.oomScoreAdj = 300;
      config.process.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 128, hard: 256 }];
    },
  ],
  [
    'a user namespace with all others and mounts',
    (config, runtime) => {
      withUser(config);
      config.linux.namespaces.push({ type: 'cgroup' });
      // Where they are already: the mapped root may not make them.
      bind(config, '/var', sourceOf(runtime), 'rbind', 'ro');
      config.mounts.push({
        destination: '/root',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['size=1m'],
      });
    },
  ],
  [
    'effective capabilities without permitted ones of a user',
    ({ process }) => {
      process.user = { uid: 1000, gid: 1000 };
      process.capabilities = {
        bounding: ['CAP_CHOWN', 'CAP_SETUID', 'CAP_SETGID'],
        permitted: ['CAP_CHOWN'],
        effective: [],
        inheritable: ['CAP_CHOWN'],
      };
    },
  ],
  [
    'root with a bounding set alone',
    ({ process }) => {
      process.noNewPrivileges = false;
      process.capabilities = { bounding: ['CAP_CHOWN', 'CAP_MKNOD', 'CAP_SYS_ADMIN'] };
    },
  ],
  [
    'every limit',
    ({ process }) => {
      const names =
        'AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NOFILE NPROC RSS SIGPENDING STACK';
      const limits: Readonly<Record<string, number>> = {
        AS: 2 ** 40,
        DATA: 2 ** 40,
        FSIZE: 2 ** 30,
      };
      process.rlimits = names.split(' ').map((name) => {
        const value = limits[name] ?? 4096;
        return {
          type: `RLIMIT_${name}`,
          soft: name === 'STACK' ? 2 ** 20 : value,
          hard: name === 'STACK' ? 2 ** 22 : value,
        };
      });
    },
  ],
  [
    'the least likely to be killed, and the most',
    ({ process }) => {
      process.oomScoreAdj = 1000;
    },
  ],
  [
    'a nice process with an I/O priority',
    ({ process }) => {
      process.scheduler = { policy: 'SCHED_OTHER', nice: 7, flags: ['SCHED_FLAG_RESET_ON_FORK'] };
      process.ioPriority = { class: 'IOPRIO_CLASS_BE', priority: 7 };
    },
  ],
  [
    'an idle process',
    ({ process }) => {
      process.scheduler = { policy: 'SCHED_IDLE' };
      process.ioPriority = { class: 'IOPRIO_CLASS_RT', priority: 4 };
    },
  ],
  [
    'the personality of 32 bits',
    ({ linux }) => {
      linux.personality = { domain: 'LINUX32' };
    },
  ],
  [
    'paths of its own masked and read-only',
    ({ linux }) => {
      linux.maskedPaths = ['/etc/group', '/var', '/not/there', '/proc/kcore'];
      linux.readonlyPaths = ['/root', '/etc', '/not/there', '/proc/sys'];
    },
  ],
  [
    'sysctls of every kind',
    ({ linux }) => {
      linux.sysctl = {
        'net.ipv4.ip_unprivileged_port_start': '80',
        'net/ipv4/tcp_syncookies': '0',
        'kernel.shm_rmid_forced': '1',
        'kernel.msgmax': '4096',
        'fs.mqueue.msg_max': '20',
      };
    },
  ],
  [
    'an environment with what shells do not like',
    ({ process }) => {
      process.env = ['PATH=/bin', 'EMPTY=', 'HOME=/elsewhere', 'TWICE=1', 'TWICE=2', 'A B=c d'];
      process.cwd = '/made/for/it';
    },
  ],
  [
    'a seccomp profile that denies',
    ({ linux, process }) => {
      process.noNewPrivileges = false;
      linux.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        flags: ['SECCOMP_FILTER_FLAG_LOG'],
        syscalls: [
          { names: ['keyctl', 'add_key'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 },
          { names: ['ptrace'], action: 'SCMP_ACT_KILL_PROCESS' },
        ],
      };
    },
  ],
];

for (const [what, change] of [...BUNDLES, ...MORE_BUNDLES]) {
  test(`twins: ${what}`, options, () => {
    const pair = [ours, theirs].map((fixture) => {
      const runtime = fixture as RuntimeFixture;
      const id = runtime.newId();
      runtime.configure((config) => {
        config.process.args = ['sh', '-c', PROBE];
        change(config, runtime);
      });
      const outcome = runtime.run(['run', id]);
      assert.equal(outcome.error, '', `${runtime.command}`);
      return sections(outcome.stdout);
    });
    compare(pair[0] as Sections, pair[1] as Sections);
  });

  test(`twins in exec: ${what}`, options, () => {
    const pair = [ours, theirs].map((fixture) => {
      const runtime = fixture as RuntimeFixture;
      const id = runtime.newId();
      runtime.startSleeping(id, (config) => change(config, runtime));
      const outcome = runtime.run(['exec', id, 'sh', '-c', PROBE]);
      runtime.run(['delete', '--force', id]);
      assert.equal(outcome.error, '', `${runtime.command}`);
      return sections(outcome.stdout);
    });
    compare(pair[0] as Sections, pair[1] as Sections);
  });
}
