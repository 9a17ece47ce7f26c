// The same bundle under runc and under tsrunc: a probe inside tells all that it can see, and the two tell the same, in
// the container's first process and in one that exec puts there. What is meant to differ is named here with its reason.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
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
say fds; for fd in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$fd ] && echo $fd; done
say mounts; cat /proc/self/mountinfo
say cgroup; sed 's/:.*:/:/' /proc/self/cgroup | sort
say dev; ls -ln /dev /dev/pts /dev/shm | tr -s ' ' | cut -d' ' -f1-6,10-
say files; ls -lnd / /proc /sys /dev /tmp | tr -s ' ' | cut -d' ' -f1,3,4,9-
say oom; cat /proc/self/oom_score_adj
say host; hostname; cat /proc/sys/kernel/domainname
say session; cut -d' ' -f5,6,7,8 /proc/$$/stat
say schedule; cut -d' ' -f18,19,40,41 /proc/self/stat
say personality; cat /proc/self/personality 2>/dev/null
say keys; cat /proc/keys 2>/dev/null | wc -l
say coredump; cat /proc/self/coredump_filter
say net; cat /proc/net/dev | tr -s ' ' | cut -d' ' -f2 | sort
say masked; wc -c < /proc/keys; ls /proc/acpi /sys/firmware | wc -l
say readonly; for f in /proc/sys /proc/bus /proc/irq; do [ -w $f ] && echo $f; done
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

for (const [what, change] of BUNDLES) {
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
