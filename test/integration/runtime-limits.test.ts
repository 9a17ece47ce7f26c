// Limits, device access and seccomp of config.json, as a container's process and the kernel's files show them.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { detectCgroupHost } from '../../internal/cgroups/index.ts';
import { SyscallTable } from '../../internal/linux/index.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { until } from '../fixtures/shim.ts';

const made = needsRoot ? undefined : new RuntimeFixture();
after(() => made?.[Symbol.dispose]());

function fixture(): RuntimeFixture {
  assert.ok(made);
  return made;
}

const host = detectCgroupHost();
const isV2 = host.layout === 'unified';

/** A file of the cgroup of a process, v1 or v2. */
function limitOf(pid: number, controller: string, file: string): string {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
  const line = lines.find((text) =>
    isV2 ? text.startsWith('0::') : text.split(':')[1]?.split(',').includes(controller),
  );
  const path = line?.split(':').slice(2).join(':');
  const mount = host.hierarchies.find(({ controllers }) =>
    controllers.includes(isV2 ? '' : controller),
  );
  return readFileSync(`${mount?.mountPoint}${path}/${file}`, 'utf8').trim();
}

function hasController(name: string): boolean {
  return host.hierarchies.some(({ controllers }) => controllers.includes(name));
}

function pidOf(id: string): number {
  return (JSON.parse(fixture().run(['state', id]).stdout) as { pid: number }).pid;
}

test('limits are those of config.json, in a cgroup of the given path', { skip: needsRoot }, () => {
  const id = fixture().newId('limits');
  fixture().startSleeping(id, (config) => {
    config.linux.cgroupsPath = `${fixture().cgroupParent}/${id}`;
    Object.assign(config.linux.resources, {
      memory: { limit: 100 << 20, reservation: 50 << 20 },
      cpu: { shares: 1024, quota: 30000, period: 100000 },
      pids: { limit: 123 },
    });
  });
  const pid = pidOf(id);
  assert.ok(
    readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`${fixture().cgroupParent}/${id}`),
  );
  const limits = isV2
    ? [
        ['memory', 'memory.max', '104857600'],
        ['memory', 'memory.low', '52428800'],
        ['cpu', 'cpu.weight', '100'],
        ['cpu', 'cpu.max', '30000 100000'],
      ]
    : [
        ['memory', 'memory.limit_in_bytes', '104857600'],
        ['memory', 'memory.soft_limit_in_bytes', '52428800'],
        ['cpu', 'cpu.shares', '1024'],
        ['cpu', 'cpu.cfs_quota_us', '30000'],
      ];
  for (const [controller = '', file = '', value] of [...limits, ['pids', 'pids.max', '123']]) {
    assert.equal(limitOf(pid, controller, file), value, file);
  }
  fixture().runDetached(['delete', '--force', id]);
  assert.deepEqual(fixture().leftovers(id), []);
});

test('devices: the usual ones open, others only when allowed', { skip: needsRoot }, () => {
  // A node of kmsg can be made, as mknod is allowed for all; opening it, here for writing, is not.
  const script =
    'exec 2>&1; for d in null zero full random urandom tty ptmx; do [ -e /dev/$d ] || echo no $d; done; ' +
    'head -c 1 /dev/zero >/dev/null && echo zero; mknod /dev/k c 1 11 && echo made; ' +
    '(true >>/dev/k) 2>/dev/null && echo opened || echo denied';
  const withMknod = (config: Config): void => {
    for (const set of ['bounding', 'effective', 'permitted']) {
      config.process.capabilities[set].push('CAP_MKNOD');
    }
  };
  const denied = fixture().runScript(script, withMknod);
  assert.equal(denied.stdout, 'zero\nmade\ndenied\n', denied.error);
  const allowed = fixture().runScript(script, (config) => {
    withMknod(config);
    config.linux.resources.devices.push({
      allow: true,
      type: 'c',
      major: 1,
      minor: 11,
      access: 'w',
    });
  });
  assert.equal(allowed.stdout, 'zero\nmade\nopened\n', allowed.error);
});

test('pids: a container cannot fork beyond its limit', { skip: needsRoot }, () => {
  const script = 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done 2>/dev/null; echo all';
  const { status, stdout } = fixture().runScript(script, (config) => {
    config.linux.resources.pids = { limit: 4 };
  });
  assert.notEqual(`${status} ${stdout}`, '0 all\n');
});

const noSeccomp = ((): string | false => {
  if (needsRoot) return needsRoot;
  try {
    new SyscallTable();
    return false;
  } catch (thrown) {
    return String(thrown);
  }
})();

test('seccomp: calls of the profile get what it says, newer ones ENOSYS', {
  skip: noSeccomp,
}, () => {
  const { status, stdout, error } = fixture().runScript(
    'exec 2>&1; mkdir /tmp/denied; mkdir -m 700 /tmp/denied; grep ^Seccomp: /proc/self/status; echo end',
    (config) => {
      config.linux.seccomp = {
        defaultAction: 'SCMP_ACT_ALLOW',
        architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
        syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 122 }],
      };
    },
  );
  assert.equal(status, 0, error);
  assert.match(stdout, /^(.*denied.*[Qq]uota.*\n){2}Seccomp:\t2\nend\n$/);
});

test('seccomp: a program without a call that it needs is killed, and the exit code says so', {
  skip: noSeccomp,
}, () => {
  const { status } = fixture().runScript('mkdir /tmp/x; echo not reached', (config) => {
    config.process.noNewPrivileges = false;
    config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_KILL_PROCESS' }],
    };
    config.process.args = ['mkdir', '/tmp/x'];
  });
  assert.equal(status, 128 + 31); // SIGSYS
});

/** The machine's newest runtime default would be another package's file: a profile of its shape. */
test('seccomp: hundreds of names, of other architectures and unknown ones', {
  skip: noSeccomp,
}, () => {
  const table = '/usr/include/asm-generic/unistd.h';
  const names = existsSync(table)
    ? [...readFileSync(table, 'utf8').matchAll(/__NR_(\w+)/g)].map(([, name]) => name)
    : [];
  const usual =
    'read write open openat close stat fstat lstat newfstatat statx poll lseek mmap mprotect munmap brk ' +
    'rt_sigaction rt_sigprocmask rt_sigreturn ioctl pread64 access faccessat faccessat2 pipe pipe2 dup dup2 ' +
    'getpid clone clone3 fork vfork execve execveat exit exit_group wait4 uname fcntl getdents64 getcwd chdir ' +
    'readlink readlinkat umask getuid geteuid getgid getegid getppid getpgrp setpgid arch_prctl prctl ' +
    'set_tid_address set_robust_list rseq prlimit64 getrandom futex capget capset setuid setgid setgroups ' +
    'sched_getaffinity sigaltstack madvise gettid tgkill seccomp sysinfo fchdir arm_sync_file_range not_a_call';
  const { status, stdout, error, stderr } = fixture().runScript(
    'mkdir /tmp/x || echo ok',
    (config) => {
      config.linux.seccomp = {
        defaultAction: 'SCMP_ACT_ERRNO',
        architectures: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
        syscalls: [
          {
            names: [...new Set([...usual.split(' '), ...names])].filter(
              (name) => !/^mkdir/.test(name ?? ''),
            ),
            action: 'SCMP_ACT_ALLOW',
          },
        ],
      };
    },
  );
  assert.equal(`${status} ${stdout}`, '0 ok\n', `${error} ${stderr}`);
});

// opencontainers/runc 1980, 4021, 3986: its init lives in the container's cgroup and needs some 3 MB of it.
test('memory: a container of 1 MB starts', { skip: needsRoot }, () => {
  const id = fixture().newId('small');
  fixture().configure((config) => {
    config.process.args = ['true'];
    config.linux.resources.memory = { limit: 1 << 20 };
  });
  const { status, error } = fixture().run(['run', id]);
  assert.deepEqual([status, error], [0, '']);
});

test('memory: a limit that is too small for any process is what the error names', {
  skip: needsRoot,
}, () => {
  const id = fixture().newId('tiny');
  fixture().configure((config) => {
    config.process.args = ['true'];
    config.linux.resources.memory = { limit: 4096 };
  });
  const { status, error } = fixture().run(['run', id]);
  assert.equal(status, 1);
  assert.equal(
    error,
    'the container process was killed for want of memory before it was ready: raise linux.resources.memory.limit, which is 4096 bytes',
  );
  assert.deepEqual(fixture().leftovers(id), []);
});

const hasSwap = readFileSync('/proc/swaps', 'latin1').trim().split('\n').length > 1;

test('update: a memory limit below what cannot be reclaimed says what is in use, and changes nothing', {
  skip:
    needsRoot ||
    (isV2 && 'cgroup v2 takes such a limit, and kills') ||
    (hasSwap && 'with swap all can be reclaimed'),
}, async () => {
  const runtime = fixture();
  const id = runtime.newId('in-use');
  runtime.startSleeping(
    id,
    (config) => {
      config.linux.resources.memory = { limit: 256 << 20 };
    },
    'dd if=/dev/zero of=/dev/shm/data bs=1M count=24 2>/dev/null; echo > /written',
  );
  await until(() => existsSync(join(runtime.rootfs, 'written')), 'the data', 30_000);
  const { status, error } = runtime.run(['update', '--memory', '8m', id]);
  assert.equal(status, 1);
  const [, used = '', most = ''] =
    /^linux\.resources\.memory\.limit: write "8388608" to \S+\/memory\.limit_in_bytes: EBUSY \(device or resource busy\): (\d+) bytes are in use \((\d+) at most so far\): set a limit above that, or have the container use less first$/.exec(
      error,
    ) ?? assert.fail(error);
  assert.ok(Number(used) >= 24 << 20 && Number(most) >= Number(used), error);
  const { data } = JSON.parse(runtime.run(['events', '--stats', id]).stdout);
  assert.equal(data.memory.usage.limit, 256 << 20);
  assert.equal(runtime.run(['delete', '--force', id]).status, 0);
});

test('a controller that this machine does not have is named, with what to do', {
  skip: needsRoot || (isV2 && 'cgroup v1 only') || (hasController('rdma') && 'rdma is there'),
}, () => {
  const id = fixture().newId('rdma');
  fixture().configure((config) => {
    config.linux.resources.rdma = { mlx5_0: { hcaHandles: 3 } };
  });
  const { status, error } = fixture().run(['run', id]);
  assert.equal(status, 1);
  assert.equal(
    error,
    'linux.resources.rdma.mlx5_0: no hierarchy of the cgroup controller rdma is mounted: mount it (mount -t cgroup -o rdma cgroup DIRECTORY) or leave the limit out',
  );
  assert.deepEqual(fixture().leftovers(id), []);
});
