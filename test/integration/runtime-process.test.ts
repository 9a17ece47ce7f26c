// tsrunc: what the container's process gets: user, capabilities, limits, labels, seccomp, environment, fds.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { after, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };

/** Output of a script, which must succeed. */
function output(script: string, change: (config: Config) => void = () => {}): string {
  const { stdout, error, stderr } = runtime.runScript(script, change);
  assert.equal(error, '', stderr);
  return stdout;
}

function statusOf(change: (config: Config) => void): Record<string, string> {
  // Without a shell, which would ignore signals of its own.
  runtime.configure((config) => {
    config.process.args = ['cat', '/proc/self/status'];
    change(config);
  });
  const { stdout, error } = runtime.run(['run', runtime.newId()]);
  assert.equal(error, '');
  const lines = stdout.trim().split('\n');
  return Object.fromEntries(lines.map((line) => line.split(/:\s*/)));
}

const bits = (...numbers: number[]) =>
  numbers
    .reduce((sum, number) => sum | (1n << BigInt(number)), 0n)
    .toString(16)
    .padStart(16, '0');

test('user, groups and umask', options, () => {
  const script = 'id -u; id -g; id -G; umask';
  assert.equal(
    output(script, ({ process }) => {
      process.user = { uid: 5, gid: 6, additionalGids: [7, 8], umask: 0o27 };
    }),
    '5\n6\n6 7 8\n0027\n',
  );
  assert.equal(output(script), '0\n0\n0\n0022\n');
});

test('capabilities: each of the five sets is what was asked for', options, () => {
  const status = statusOf(({ process }) => {
    process.user = { uid: 1000, gid: 1000 };
    process.capabilities = {
      bounding: ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_RAW'],
      permitted: ['CAP_CHOWN', 'CAP_KILL'],
      effective: ['CAP_CHOWN'],
      inheritable: ['CAP_CHOWN'],
      ambient: ['CAP_CHOWN'],
    };
  });
  // execve of a file without capabilities leaves what is ambient.
  assert.equal(status['CapBnd'], bits(0, 5, 13));
  assert.equal(status['CapInh'], bits(0));
  assert.equal(status['CapAmb'], bits(0));
  assert.equal(status['CapPrm'], bits(0));
  assert.equal(status['CapEff'], bits(0));
});

test('capabilities: none at all', options, () => {
  const status = statusOf(({ process }) => {
    process.capabilities = {};
  });
  for (const set of ['Bnd', 'Inh', 'Amb', 'Prm', 'Eff']) {
    assert.equal(status[`Cap${set}`], bits(), set);
  }
});

test('signals: none ignored, none blocked, whatever Node made of them', options, () => {
  const status = statusOf(() => {});
  for (const set of ['SigIgn', 'SigBlk']) assert.equal(status[set], '0000000000000000', set);
});

test('no_new_privs', options, () => {
  const nnp = (value: boolean) =>
    statusOf(({ process }) => {
      process.noNewPrivileges = value;
    })['NoNewPrivs'];
  assert.equal(nnp(true), '1');
  assert.equal(nnp(false), '0');
});

test('rlimits, and the open-files limit of the caller where none is given', options, () => {
  assert.equal(
    output('ulimit -n; ulimit -Hn; ulimit -c; ulimit -s', ({ process }) => {
      process.rlimits = [
        { type: 'RLIMIT_NOFILE', soft: 50, hard: 60 },
        { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
        { type: 'RLIMIT_STACK', soft: 1048576, hard: 2097152 },
      ];
    }),
    '50\n60\n0\n1024\n',
  );
  const limits = readFileSync(`/proc/${process.ppid}/limits`, 'latin1');
  const [, , hard] = /Max open files\s+(\d+)\s+(\d+)/.exec(limits) ?? [];
  const own = output('ulimit -n; ulimit -Hn', ({ process }) => {
    process.rlimits = [];
  });
  const [soft, hardInside] = own.trim().split('\n');
  assert.equal(hardInside, hard);
  assert.notEqual(soft, '', 'a soft limit');
});

test("the environment is the configuration's, with HOME of /etc/passwd", options, () => {
  runtime.configure(({ process }) => {
    process.args = ['env'];
    process.env = ['PATH=/bin', '__proto__=x', 'EMPTY='];
  });
  const env = { ...process.env, NODE_OPTIONS: '--title=x', NODE_V8_COVERAGE: '', OPENSSL_CONF: '' };
  const { stdout } = runtime.run(['run', runtime.newId()], { env });
  assert.equal(stdout, 'PATH=/bin\n__proto__=x\nEMPTY=\nHOME=/root\n');
});

test('fds: stdin, stdout and stderr alone', options, () => {
  runtime.configure(({ process }) => {
    process.args = ['ls', '/proc/self/fd'];
  });
  assert.equal(runtime.run(['run', runtime.newId()]).stdout, '0\n1\n2\n3\n', '3 is of ls itself');
});

test('working directory: made if it is not there', options, () => {
  assert.equal(
    output('pwd', ({ process }) => {
      process.cwd = '/a/b/c';
    }),
    '/a/b/c\n',
  );
});

test('hostname, domainname and sysctl', options, () => {
  assert.equal(
    output('hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward', (config) => {
      config.hostname = 'a-host';
      config.domainname = 'a-domain';
      config.linux.sysctl = { 'net.ipv4.ip_forward': '1' };
    }),
    'a-host\na-domain\n1\n',
  );
});

test('oom score', options, () => {
  assert.equal(
    output('cat /proc/self/oom_score_adj', ({ process }) => {
      process.oomScoreAdj = 321;
    }),
    '321\n',
  );
});

test('scheduler, I/O priority and personality', options, () => {
  const script = 'cut -d" " -f18,19,41 /proc/self/stat; uname -m';
  const [stat, machine] = output(script, (config) => {
    config.process.scheduler = { policy: 'SCHED_BATCH', nice: 5 };
    config.process.ioPriority = { class: 'IOPRIO_CLASS_BE', priority: 6 };
    config.linux.personality = { domain: 'LINUX32' };
  })
    .trim()
    .split('\n');
  assert.equal(stat, '25 5 3', 'priority 20 + nice, nice, SCHED_BATCH');
  assert.match(machine ?? '', /^i[3-6]86$|^armv8l$/);
});

const RT_RUNTIME = '/sys/fs/cgroup/cpu/cpu.rt_runtime_us';
test('a real-time process in a cgroup without time for it: the error says what to set', {
  skip: needsRoot || (!existsSync(RT_RUNTIME) && `${RT_RUNTIME} is not there`),
}, () => {
  const { status, error } = runtime.runScript('true', (config) => {
    config.process.scheduler = { policy: 'SCHED_FIFO', priority: 5 };
  });
  assert.equal(status, 1);
  assert.match(error, /^join cgroup \S+: EINVAL .*: set linux\.resources\.cpu\.realtimeRuntime$/);
});

test('memory policy', options, () => {
  const maps = output('cat /proc/self/numa_maps 2>/dev/null || echo none', (config) => {
    config.linux.memoryPolicy = { mode: 'MPOL_BIND', nodes: '0' };
  });
  assert.match(maps, /bind:0|^none$/m);
});

test('socket activation: LISTEN_FDS are passed on', options, () => {
  runtime.configure(({ process }) => {
    process.args = ['sh', '-c', 'echo $LISTEN_FDS $LISTEN_PID; cat <&3'];
  });
  const [program = '', ...prefix] = runtime.command;
  const tsrunc = [program, ...prefix, '--root', runtime.stateRoot].join(' ');
  const script = `exec 3< ${runtime.rootfs}/etc/group; LISTEN_FDS=1 ${tsrunc} run -b ${runtime.bundle} ${runtime.newId()}`;
  const { stdout } = spawnSync('sh', ['-c', script], { encoding: 'utf8' });
  assert.match(stdout, /^1 1\nroot:x:0:/);
});

const PROFILE = {
  defaultAction: 'SCMP_ACT_ALLOW',
  architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86'],
  syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 }],
};

for (const noNewPrivileges of [true, false]) {
  test(`seccomp: a blocked system call, noNewPrivileges ${noNewPrivileges}`, options, () => {
    const { stdout, stderr } = runtime.runScript('mkdir /tmp/x; echo $?; rmdir /nope', (config) => {
      config.process.noNewPrivileges = noNewPrivileges;
      config.linux.seccomp = PROFILE;
    });
    assert.equal(stdout, '1\n');
    assert.match(stderr, /can't create directory '\/tmp\/x': Permission denied/);
  });
}

test('seccomp is there in exec as well', options, () => {
  const id = runtime.newId();
  runtime.startSleeping(id, (config) => {
    config.linux.seccomp = PROFILE;
  });
  const { stderr, status } = runtime.run(['exec', id, 'mkdir', '/tmp/y']);
  runtime.run(['delete', '--force', id]);
  assert.equal(status, 1);
  assert.match(stderr, /Permission denied/);
});

test('limits of the cgroup are those of the configuration', options, () => {
  const id = runtime.newId();
  runtime.startSleeping(id, (config) => {
    config.linux.resources.memory = { limit: 33554432 };
    config.linux.resources.pids = { limit: 17 };
  });
  const { data } = JSON.parse(runtime.run(['events', '--stats', id]).stdout);
  runtime.run(['delete', '--force', id]);
  assert.equal(data.memory.usage.limit, 33554432);
  assert.equal(data.pids.limit, 17);
});

test('a memory limit of 1 MiB is enough to start a static program', options, () => {
  assert.equal(
    output('echo started', (config) => {
      config.linux.resources.memory = { limit: 1024 * 1024 };
    }),
    'started\n',
  );
});

test('devices: those of the spec, with mode and owner, and only allowed ones open', options, () => {
  const script =
    'stat -c "%n %F %t:%T %a %u:%g" /dev/full /dev/mine /dev/pipe; head -c 1 /dev/zero | wc -c';
  const text = output(script, (config) => {
    config.linux.devices = [
      { type: 'c', path: '/dev/mine', major: 1, minor: 5, fileMode: 0o640, uid: 3, gid: 4 },
      { type: 'p', path: '/dev/pipe', fileMode: 0o600 },
    ];
  });
  assert.equal(
    text,
    '/dev/full character special file 1:7 666 0:0\n' +
      '/dev/mine character special file 1:5 640 3:4\n' +
      '/dev/pipe fifo 0:0 600 0:0\n1\n',
  );
});
