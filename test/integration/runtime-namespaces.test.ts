// tsrunc: every namespace, made and joined.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };

const FILES = {
  pid: 'pid',
  network: 'net',
  ipc: 'ipc',
  uts: 'uts',
  mount: 'mnt',
  cgroup: 'cgroup',
};
const READ_ALL = `for n in ${Object.values(FILES).join(' ')} user time; do echo $n $(readlink /proc/self/ns/$n); done`;

function parse(stdout: string): Record<string, string> {
  return Object.fromEntries(
    stdout
      .trim()
      .split('\n')
      .map((line) => line.split(' ')),
  );
}

function own(name: string): string {
  return readlinkSync(`/proc/self/ns/${name}`);
}

function withNamespaces(config: Config, ...types: string[]): void {
  config.linux.namespaces = types.map((type) => ({ type }));
}

/** A cgroup namespace of its own: with cgroup v2 that is the default already. */
function withCgroup(config: Config): void {
  const types = config.linux.namespaces.map(({ type }: { type: string }) => type);
  withNamespaces(config, ...new Set<string>([...types, 'cgroup']));
}

const MAPPING = [{ containerID: 0, hostID: 100000, size: 65536 }];

function withUser(config: Config): void {
  config.linux.namespaces.push({ type: 'user' });
  config.linux.uidMappings = MAPPING;
  config.linux.gidMappings = MAPPING;
}

test("namespaces that are listed are new, all others are the host's", options, () => {
  const few = parse(
    runtime.runScript(READ_ALL, (config) => {
      withNamespaces(config, 'mount', 'pid');
      config.hostname = undefined;
    }).stdout,
  );
  for (const name of ['mnt', 'pid']) assert.notEqual(few[name], own(name), name);
  for (const name of ['net', 'ipc', 'uts', 'cgroup', 'user', 'time']) {
    assert.equal(few[name], own(name), name);
  }
  const all = runtime.runScript(READ_ALL, (config) => {
    withNamespaces(config, ...Object.keys(FILES), 'time');
    withUser(config);
  });
  assert.equal(all.error, '');
  for (const [name, id] of Object.entries(parse(all.stdout))) assert.notEqual(id, own(name), name);
});

test('a new network namespace has its loopback up', options, () => {
  const { stdout } = runtime.runScript('cat /sys/class/net/lo/flags');
  assert.equal(Number(stdout) & 1, 1);
});

test('a new cgroup namespace shows the container its own cgroup as the root', options, () => {
  const { stdout, error } = runtime.runScript(
    'cat /proc/self/cgroup; ls /sys/fs/cgroup; find /sys/fs/cgroup -name cgroup.procs -maxdepth 2 | head -1 | xargs grep -c .',
    withCgroup,
  );
  assert.equal(error, '');
  const paths = stdout.split('\n').filter((line) => /^\d+:/.test(line));
  assert.ok(paths.length > 0);
  for (const line of paths.filter((each) => !each.includes('hugetlb'))) assert.match(line, /:\/$/);
});

test('user namespace: ids are mapped, files are those of the mapped root', options, () => {
  const { stdout, error } = runtime.runScript(
    'cat /proc/self/uid_map | tr -s " "; id -u; id -g; touch /tmp/new; stat -c %u:%g /tmp/new; stat -c %u /dev/null; echo x > /dev/null; echo $?; grep CapEff /proc/self/status',
    withUser,
  );
  assert.equal(error, '');
  const [map, uid, gid, owner, , written, caps] = stdout.trim().split('\n');
  assert.equal(map?.trim(), '0 100000 65536');
  assert.deepEqual([uid, gid, owner, written], ['0', '0', '0:0', '0']);
  assert.match(caps ?? '', /CapEff:\s+0000000020000420/);
});

test('user namespace: on a host whose mounts are shared, as systemd leaves them', options, () => {
  const source = join(runtime.directory, 'shared-source');
  mkdirSync(source);
  chmodSync(source, 0o755);
  const target = join(runtime.rootfs, 'shared');
  mkdirSync(target);
  try {
    runtime.configure((config) => {
      withUser(config);
      config.mounts.push({
        destination: '/shared',
        type: 'bind',
        source,
        options: ['rbind', 'rslave'],
      });
      config.process.args = ['sh', '-c', 'grep -c shared: /proc/self/mountinfo; echo done'];
    });
    const command = ['unshare', '--mount', '--propagation', 'shared', ...runtime.command];
    const { stdout, error } = runtime.run(['run', runtime.newId()], { command });
    assert.deepEqual({ stdout, error }, { stdout: '0\ndone\n', error: '' });
  } finally {
    rmdirSync(target); // other tests compare the rootfs
    rmdirSync(source);
  }
});

test(
  'user namespace: the bundle may lie in a directory that is closed to the mapped root',
  options,
  () => {
    chmodSync(runtime.directory, 0o700);
    try {
      const source = join(runtime.directory, 'source');
      mkdirSync(source, { recursive: true });
      mkdirSync(join(runtime.rootfs, 'mnt')); // the mapped root may not make it
      writeFileSync(join(source, 'file'), 'content');
      const { stdout, error } = runtime.runScript('cat /mnt/file', (config) => {
        withUser(config);
        config.mounts.push({ destination: '/mnt', type: 'bind', source, options: ['rbind', 'ro'] });
      });
      assert.deepEqual({ stdout, error }, { stdout: 'content', error: '' });
    } finally {
      chmodSync(runtime.directory, 0o755);
    }
  },
);

test('user namespace: limits, oom score, user, exec', options, () => {
  const id = runtime.newId();
  runtime.startSleeping(id, (config) => {
    withUser(config);
    config.process.user = { uid: 1000, gid: 1000, additionalGids: [7] };
    config.process.oomScoreAdj = 500;
    config.process.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 300, hard: 400 }];
  });
  const { pid } = JSON.parse(runtime.run(['state', id]).stdout);
  assert.equal(readFileSync(`/proc/${pid}/oom_score_adj`, 'latin1'), '500\n');
  assert.match(readFileSync(`/proc/${pid}/limits`, 'latin1'), /Max open files\s+300\s+400/);
  assert.match(readFileSync(`/proc/${pid}/status`, 'latin1'), /Uid:\s+101000\s/);
  const { stdout, error } = runtime.run(['exec', id, 'sh', '-c', 'id -u; id -G; ulimit -n']);
  assert.deepEqual({ stdout, error }, { stdout: '1000\n1000 7\n300\n', error: '' });
  runtime.run(['delete', '--force', id]);
  assert.deepEqual(runtime.leftovers(id), []);
});

test('time namespace: clocks have the given offsets', options, () => {
  const { stdout, error } = runtime.runScript(
    'cat /proc/uptime; cat /proc/self/timens_offsets',
    (config) => {
      config.linux.namespaces.push({ type: 'time' });
      config.linux.timeOffsets = {
        boottime: { secs: 1000000 },
        monotonic: { secs: 5, nanosecs: 7 },
      };
    },
  );
  assert.equal(error, '');
  assert.ok(Number(stdout.split(' ')[0]) > 1000000);
  assert.match(stdout, /monotonic\s+5\s+7\nboottime\s+1000000\s+0/);
});

/** A process in new namespaces whose /proc files can be joined. */
function holder(flags: string[]): ChildProcess {
  return spawn('unshare', [...flags, 'sleep', '1000'], { stdio: 'ignore' });
}

test('namespaces are joined by path', options, async () => {
  const first = runtime.newId();
  runtime.startSleeping(first, withCgroup);
  const { pid } = JSON.parse(runtime.run(['state', first]).stdout);
  const { stdout, error } = runtime.runScript(
    `${READ_ALL}; tr '\\0' ' ' < /proc/1/cmdline`,
    (config) => {
      config.hostname = undefined;
      config.linux.namespaces = Object.entries(FILES)
        .filter(([type]) => type !== 'mount')
        .map(([type, file]) => ({ type, path: `/proc/${pid}/ns/${file}` }))
        .concat({ type: 'mount' } as never);
      config.mounts = config.mounts.filter(({ type }: { type: string }) => type !== 'cgroup');
    },
  );
  assert.equal(error, '');
  const seen = parse(stdout);
  for (const name of ['pid', 'net', 'ipc', 'uts', 'cgroup']) {
    assert.equal(seen[name], readlinkSync(`/proc/${pid}/ns/${name}`), name);
  }
  assert.notEqual(seen['mnt'], readlinkSync(`/proc/${pid}/ns/mnt`));
  assert.match(stdout, /\nsleep 1000 $/, 'its init is that of the first container');
  runtime.run(['delete', '--force', first]);
});

test('the pid is known, however late the joiner of namespaces tells it', options, () => {
  const first = runtime.newId();
  runtime.startSleeping(first);
  const { pid } = JSON.parse(runtime.run(['state', first]).stdout);
  // More to do than processors: the joiner loses its own while the container that it made is getting ready.
  const busy = Array.from({ length: 6 }, () =>
    spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }),
  );
  try {
    for (let round = 0; round < 6; round++) {
      const id = runtime.newId();
      runtime.startSleeping(id, (config) => {
        config.linux.namespaces = [{ type: 'mount' }, { type: 'pid', path: `/proc/${pid}/ns/pid` }];
        config.hostname = undefined;
        config.mounts = config.mounts.filter(
          ({ type }: { type: string }) =>
            type !== 'sysfs' && type !== 'cgroup' && type !== 'mqueue',
        );
      });
      const state = JSON.parse(runtime.run(['state', id]).stdout);
      assert.ok(state.pid > 0, `round ${round}: pid ${state.pid}`);
      assert.equal(runtime.run(['exec', id, 'echo', 'in']).stdout, 'in\n');
      runtime.run(['delete', '--force', id]);
    }
  } finally {
    for (const child of busy) child.kill('SIGKILL');
  }
  runtime.run(['delete', '--force', first]);
});

test('a user namespace and what belongs to it are joined by path', options, () => {
  const first = runtime.newId();
  runtime.startSleeping(first, withUser);
  const { pid } = JSON.parse(runtime.run(['state', first]).stdout);
  const { stdout, error } = runtime.runScript(`${READ_ALL}; id -u`, (config) => {
    config.hostname = undefined;
    config.linux.namespaces = [
      { type: 'user', path: `/proc/${pid}/ns/user` },
      { type: 'network', path: `/proc/${pid}/ns/net` },
      { type: 'pid' },
      { type: 'mount' },
      { type: 'ipc' },
    ];
  });
  assert.equal(error, '');
  const seen = parse(stdout);
  for (const name of ['user', 'net']) {
    assert.equal(seen[name], readlinkSync(`/proc/${pid}/ns/${name}`), name);
  }
  assert.match(stdout, /\n0\n$/);
  runtime.run(['delete', '--force', first]);
});

test('a new user namespace with a network namespace of the host', options, () => {
  const net = holder(['--net']);
  try {
    const path = `/proc/${net.pid}/ns/net`;
    while (readlinkSync(path) === own('net'));
    const { stdout, error } = runtime.runScript(READ_ALL, (config) => {
      withUser(config);
      config.mounts = config.mounts.filter(({ type }: { type: string }) => type !== 'sysfs');
      config.mounts = config.mounts.filter(({ type }: { type: string }) => type !== 'cgroup');
      for (const namespace of config.linux.namespaces) {
        if (namespace.type === 'network') namespace.path = path;
      }
    });
    assert.equal(error, '');
    assert.equal(parse(stdout)['net'], readlinkSync(path));
  } finally {
    net.kill('SIGKILL');
  }
});

test(
  "sysctls and the hostname of the host's own namespace, joined by path, are refused",
  options,
  () => {
    const joining =
      (type: string, change: (config: Config) => void) =>
      (config: Config): void => {
        const path = `/proc/${process.pid}/ns/${FILES[type as keyof typeof FILES]}`;
        config.hostname = undefined;
        config.linux.namespaces = config.linux.namespaces
          .filter((each: { type: string }) => each.type !== type)
          .concat({ type, path });
        change(config);
      };
    const sysctl = (name: string) => (config: Config) => {
      config.linux.sysctl = { [name]: '1' };
    };
    const named = (config: Config): void => {
      config.hostname = 'not-the-host';
    };
    const rows: [string, string, (config: Config) => void][] = [
      ['network', 'linux.sysctl["net.ipv4.ip_forward"]', sysctl('net.ipv4.ip_forward')],
      ['ipc', 'linux.sysctl["kernel.shm_rmid_forced"]', sysctl('kernel.shm_rmid_forced')],
      ['uts', 'hostname', named],
    ];
    for (const [type, property, change] of rows) {
      const { error } = runtime.runScript('true', joining(type, change));
      const file = `/proc/${process.pid}/ns/${FILES[type as keyof typeof FILES]}`;
      assert.equal(
        error,
        `config.json: ${property}: would change the host, whose ${type} namespace ${file} is`,
      );
    }
  },
);

test('a path that is no namespace of its type is refused by name', options, () => {
  const join = (path: string) =>
    runtime.runScript('true', (config) => {
      config.linux.namespaces = [{ type: 'mount' }, { type: 'network', path }];
      config.hostname = undefined;
    });
  assert.equal(
    join('/nonexistent').error,
    'open network namespace /nonexistent: ENOENT (no such file or directory)',
  );
  assert.equal(
    join('/proc/self/ns/uts').error,
    'join network namespace /proc/self/ns/uts: EINVAL (invalid argument)',
  );
});
