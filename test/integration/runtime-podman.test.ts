// Debian's Podman, of two releases, with tsrunc as its runtime; and with runc: what both do is what Podman's users rely on.
// Podman calls the runtime through conmon, which owns the terminal, the log file and the exit status.
import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { useCriu } from '../fixtures/criu.ts';
import {
  BOX,
  type PodmanKind,
  type PodmanResult,
  ROOTLESS_UID,
  skipWithoutPodman,
  TestPodman,
} from '../fixtures/podman.ts';
import { cgroupsNamed, tsruncProgram } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';
import { machineOnly } from '../vm/machine.ts';

const directory = mkdtempSync(join(tmpdir(), 'runtime-podman-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const criuSkip = useCriu();
const scriptSkip = existsSync('/usr/bin/script') ? false : 'no program "script"';

type RuntimeName = 'tsrunc' | 'runc';
/** Each call takes seconds in the virtual machine. */
const isSlow = machineOnly() === false;

/** The control runs under one Podman: under the other it would show the same. */
const CASES: readonly (readonly [PodmanKind, readonly RuntimeName[]])[] = isSlow
  ? [['podman-5', ['tsrunc']]]
  : [
      ['podman-5', ['tsrunc', 'runc']],
      ['podman-4', ['tsrunc']],
    ];

for (const [kind, runtimes] of CASES) {
  test(`${kind} starts containers`, { skip: skipWithoutPodman(kind) }, async (t) => {
    const control = peer('runc-1.3');
    await using podman = await TestPodman.start(kind, {
      runtimes: { tsrunc: tsruncProgram(directory), runc: control.path },
    });
    await podman.loadBox();
    for (const runtime of runtimes) {
      const skip = runtime === 'runc' && control.skip;
      await t.test(`with ${runtime}`, { skip }, async (t) => {
        await containers(t, podman, runtime);
      });
    }
  });
}

/** Rootless: Podman and the runtime run as a user with subordinate ids, in a user namespace of Podman's. */
for (const [kind, runtimes] of CASES) {
  test(`${kind} without root starts containers`, { skip: skipWithoutPodman(kind) }, async (t) => {
    const control = peer('runc-1.3');
    await using podman = await TestPodman.start(kind, {
      runtimes: { tsrunc: tsruncProgram(directory), runc: control.path },
      isRootless: true,
    });
    await podman.loadBox();
    for (const runtime of runtimes) {
      const skip = runtime === 'runc' && control.skip;
      await t.test(`with ${runtime}`, { skip }, () => rootlessContainers(podman, runtime));
    }
  });
}

function rootlessContainers(podman: TestPodman, runtime: RuntimeName): void {
  const run = (flags: readonly string[], script: string): PodmanResult => {
    const base = ['--runtime', runtime, 'run', '--network', 'none', ...flags, BOX];
    return podman.run([...base, 'sh', '-c', script]);
  };
  const script = 'id -u; tr -s " " </proc/self/uid_map; touch /tmp/x; stat -c %u /tmp/x; exit 7';
  const usual = [` 0 ${ROOTLESS_UID} 1`, ' 1 2000000 65536'];
  // The user is himself; those below and above are subordinate. As Podman's own user namespace counts.
  const above = ROOTLESS_UID + 1;
  const kept = [` 0 1 ${ROOTLESS_UID}`, ` ${ROOTLESS_UID} 0 1`];
  const all = [...kept, ` ${above} ${above} ${65536 - ROOTLESS_UID}`];
  const cases: [string[], string[]][] = [
    [[], ['0', ...usual, '0']],
    [
      ['--user', '5'],
      ['5', ...usual, '5'],
    ],
    [
      ['--userns', 'nomap'],
      ['0', ' 0 1 65536', '0'],
    ],
    [
      ['--userns', 'keep-id'],
      [`${ROOTLESS_UID}`, ...all, `${ROOTLESS_UID}`],
    ],
    [
      ['--read-only', '--tmpfs', '/tmp', '--cap-drop', 'ALL', '--init'],
      ['0', ...usual, '0'],
    ],
  ];
  for (const [flags, expected] of cases) {
    const { status, stdout, stderr } = run(['--rm', ...flags], script);
    assert.deepEqual([status, stdout], [7, `${expected.join('\n')}\n`], stderr);
  }
  const call = (...args: string[]): string => {
    const { status, stdout, stderr } = podman.run(['--runtime', runtime, ...args]);
    assert.equal(status, 0, `podman ${args.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  };
  const name = `rootless-${runtime}`;
  run(['--detach', '--name', name], 'echo started; exec sleep 1000');
  assert.equal(call('exec', name, 'id', '-u'), '0');
  assert.equal(call('logs', name), 'started');
  assert.match(call('top', name, 'huser', 'args'), /^HUSER +COMMAND\n\S+ +sleep 1000$/);
  call('kill', name);
  assert.equal(call('wait', name), '137');
  call('rm', '--force', name);
  assert.equal(call('ps', '--all', '--quiet'), '');
}

async function containers(t: TestContext, podman: TestPodman, runtime: RuntimeName): Promise<void> {
  const isOurs = runtime === 'tsrunc';
  const podman4 = podman.kind === 'podman-4';
  const base = ['--runtime', runtime];
  const parent = `/podman-${process.pid}-${runtime}`;
  const options = ['--network', 'none', '--cgroup-parent', parent];
  const run = (flags: readonly string[], ...command: string[]): PodmanResult => {
    return podman.run([...base, 'run', ...options, ...flags, BOX, ...command]);
  };
  /** A call that must succeed; its output. */
  const call = (...args: string[]): string => {
    const { status, stdout, stderr } = podman.run([...base, ...args]);
    assert.equal(status, 0, `podman ${args.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  };
  const inspect = (name: string, format: string): string => {
    return call('inspect', '--format', format, name);
  };
  const until = async (what: string, expected: string, look: () => string): Promise<void> => {
    const deadlineMs = performance.now() + 60_000;
    for (let seen = look(); seen !== expected; seen = look()) {
      assert.ok(performance.now() < deadlineMs, `${what}: ${seen} instead of ${expected}`);
      await delay(50); // podman has no call that waits for this
    }
  };

  await t.test('run: output, exit code, nothing left', () => {
    const { status, stdout, stderr } = run(['--rm'], 'sh', '-c', 'echo out; echo err >&2; exit 7');
    assert.deepEqual([status, stdout, stderr], [7, 'out\n', 'err\n']);
    assert.equal(call('ps', '--all', '--quiet'), '');
  });

  await t.test('run --interactive: stdin', () => {
    const args = [...base, 'run', ...options, '--rm', '--interactive', BOX, 'cat'];
    assert.equal(podman.run(args, 'a line\n'.repeat(1000)).stdout, 'a line\n'.repeat(1000));
  });

  await t.test('run: user, environment, directory, hostname, limits, mounts', () => {
    const file = join(podman.directory, 'mounted');
    writeFileSync(file, 'mounted\n');
    const flags = ['--rm', '--user', '1000:1000', '--env', 'A=b c', '--workdir', '/tmp'];
    const limits = ['--ulimit', 'nofile=100', '--ulimit', 'nproc=1000'];
    const more = ['--hostname', 'h', ...limits, '--sysctl', 'kernel.msgmax=1000'];
    const mounts = ['--read-only', '--tmpfs', '/var', '--volume', `${file}:/mounted:ro`];
    const script =
      'id -u; echo "$A"; pwd; hostname; ulimit -n; cat /proc/sys/kernel/msgmax /mounted; ' +
      'touch /x 2>/dev/null || echo read-only; umask; cat /proc/self/oom_score_adj; ' +
      'grep -E "^(CapEff|NoNewPrivs|Seccomp|Groups):" /proc/self/status';
    const security = ['--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];
    const process = ['--umask', '0077', '--oom-score-adj', '500', '--group-add', '1001'];
    const { stdout, stderr } = run(
      [...flags, ...more, ...mounts, ...security, ...process],
      ...['sh', '-c', script],
    );
    const lines = ['1000', 'b c', '/tmp', 'h', '100', '1000', 'mounted', 'read-only', '0077'];
    const groups = 'Groups:\t1000 1001 \n';
    const status = `${groups}CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n`;
    assert.equal(stdout, `${[...lines, '500'].join('\n')}\n${status}`, stderr);
  });

  await t.test('run --tmpfs: what the image has there is copied up', () => {
    const script =
      'grep -c " /bin tmpfs " /proc/mounts; cat /etc/group | head -n 1; ls /tmp | wc -l';
    const { stdout, stderr } = run(
      ['--rm', '--tmpfs', '/bin', '--tmpfs', '/tmp:size=1m,notmpcopyup'],
      ...['sh', '-c', script],
    );
    assert.equal(stdout, '1\nroot:x:0:\n0\n', stderr);
  });

  await t.test('run --mount, --volume: image, overlay, tmpfs, propagation', () => {
    const source = join(podman.directory, `source-${runtime}`);
    mkdirSync(source);
    writeFileSync(join(source, 'file'), 'content\n');
    const mounts = [
      ...['--mount', `type=image,source=${BOX},destination=/image`],
      ...['--mount', 'type=tmpfs,destination=/small,tmpfs-size=64k,tmpfs-mode=700'],
      ...['--volume', `${source}:/over:O`, '--volume', `${source}:/slave:rslave,noexec`],
    ];
    const script =
      'ls /image/bin/sh; stat -c %a /small; echo new >/over/new; cat /over/file /over/new; ' +
      'grep " /slave " /proc/self/mountinfo | grep -oE "noexec| - "; ls /slave';
    const { stdout, stderr } = run(['--rm', ...mounts], 'sh', '-c', script);
    const lines = ['/image/bin/sh', '700', 'content', 'new', 'noexec', ' - ', 'file'];
    assert.equal(stdout, `${lines.join('\n')}\n`, stderr);
    assert.deepEqual(readdirSync(source), ['file']);
  });

  await t.test('run --init: a small init is process 1', () => {
    const { stdout, stderr } = run(['--rm', '--init'], 'sh', '-c', 'tr "\\0" " " </proc/1/cmdline');
    assert.match(stdout, /^\/(?:dev|run\/podman)[-/]init -- sh -c /, stderr);
  });

  await t.test('run --privileged: all devices', (t) => {
    const { status, stdout, stderr } = run(['--rm', '--privileged'], 'sh', '-c', 'ls /dev | wc -l');
    if (!isOurs && /unable to apply caps/.test(stderr)) {
      t.skip('this runc cannot give the capabilities that this process lacks itself');
      return;
    }
    assert.deepEqual([status, Number(stdout) > 20], [0, true], stderr);
  });

  await t.test('run --security-opt: a seccomp profile, masked and unmasked paths', () => {
    const profile = join(podman.directory, 'seccomp.json');
    const deny = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 28 };
    writeFileSync(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [deny] }));
    const security = [`seccomp=${profile}`, 'mask=/var', 'unmask=/proc/kcore'];
    const { stdout, stderr } = run(
      ['--rm', ...security.flatMap((value) => ['--security-opt', value])],
      ...['sh', '-c', 'mkdir /tmp/x; grep -cE " /(var|proc/kcore) " /proc/self/mountinfo'],
    );
    const text = "mkdir: can't create directory '/tmp/x': No space left on device\n";
    assert.deepEqual([stdout, stderr], ['1\n', text]);
  });

  await t.test('run --device, --device-cgroup-rule', () => {
    const flags = ['--device', '/dev/zero:/dev/mine', '--device-cgroup-rule', 'c 1:11 r'];
    const script =
      'head -c 3 /dev/mine | wc -c; stat -c %F /dev/mine; mknod /tmp/kmsg c 1 11; ' +
      'for how in "<" ">"; do (eval "exec 3$how/tmp/kmsg") 2>/dev/null && echo "$how"; done';
    const { stdout, stderr } = run(
      ['--rm', '--cap-add', 'MKNOD,SYSLOG', ...flags],
      ...['sh', '-c', script],
    );
    assert.equal(stdout, '3\ncharacter special file\n<\n', stderr);
  });

  await t.test('run --userns: auto, and maps of one’s own', () => {
    const script =
      'tr -s " " </proc/self/uid_map; stat -c "%u %g" /bin/busybox; id -u; touch /mine';
    const auto = run(['--rm', '--userns', 'auto:size=5000'], 'sh', '-c', script);
    assert.match(auto.stdout, /^ 0 200000 5000\n0 0\n0\n$/, auto.stderr);
    const maps = ['--uidmap', '0:300000:1000', '--gidmap', '0:300000:1000'];
    const own = run(['--rm', ...maps], 'sh', '-c', script);
    assert.equal(own.stdout, ' 0 300000 1000\n0 0\n0\n', own.stderr);
  });

  await t.test('run --preserve-fds', () => {
    const file = join(podman.directory, 'preserved');
    writeFileSync(file, 'by fd\n');
    const fd = openSync(file, 'r');
    try {
      const args = [...base, 'run', ...options, '--rm', '--preserve-fds', '1', BOX];
      const { stdout, stderr } = podman.run(
        [...args, 'sh', '-c', 'cat <&3; ls /proc/self/fd'],
        '',
        {
          fd,
        },
      );
      // ls has one open for the directory.
      assert.equal(stdout, 'by fd\n0\n1\n2\n3\n4\n', stderr);
    } finally {
      closeSync(fd);
    }
  });

  await t.test('run --memory: killed for want of memory, and shown as that', () => {
    const name = `oom-${runtime}`;
    const limits = ['--memory', '20m', '--memory-swap', '20m'];
    const { status } = run(['--name', name, ...limits], 'tail', '/dev/zero');
    const state = inspect(name, '{{.State.OOMKilled}} {{.State.ExitCode}}');
    call('rm', name);
    // The monitor of Podman 4 sees it under no runtime.
    assert.deepEqual([status, state], [137, `${!podman4} 137`]);
  });

  await t.test('run --tty: a terminal', { skip: scriptSkip }, () => {
    // Podman 4 loses what is written in the moment before the end, with any runtime.
    const command = ['sh', '-c', 'sleep 0.3; tty; sleep 0.3'];
    const args = [...base, 'run', ...options, '--rm', '--interactive', '--tty', BOX, ...command];
    const { status, stdout } = podman.runInTerminal(args);
    assert.deepEqual([status, stdout], [0, '/dev/pts/0\r\n']);
  });

  await t.test('run: a program that is not there is 127, one that may not run 126', () => {
    const missing = run(['--rm'], 'missing');
    const denied = run(['--rm'], '/etc/passwd');
    assert.deepEqual([missing.status, denied.status], [127, 126]);
    if (!isOurs) return;
    assert.deepEqual(
      [missing.stderr, denied.stderr],
      [
        'Error: tsrunc: exec: "missing": executable file not found in $PATH (/bin:/usr/bin): ENOENT (no such file or directory): OCI runtime attempted to invoke a command that was not found\n',
        'Error: tsrunc: exec: "/etc/passwd": may not be executed by the process\'s user: EACCES (permission denied): make it executable in the image (chmod +x), and its directories accessible: OCI permission denied\n',
      ],
    );
  });

  await t.test('a container that goes on', async (t) => {
    const name = `long-${runtime}`;
    const script = 'trap "echo usr1" USR1; echo started; while :; do sleep 0.1; done';
    const limits = ['--memory', '100m', '--memory-swap', '200m', '--pids-limit', '60'];
    const flags = ['--detach', '--name', name, '--cpus', '0.9', ...limits];
    const detached = run(flags, 'sh', '-c', script);
    const id = detached.stdout.trim();
    assert.match(id, /^[0-9a-f]{64}$/, detached.stderr);

    await t.test('inspect: state, pid, runtime, limits of its cgroup', () => {
      const format = '{{.State.Status}} {{.OCIRuntime}} {{.State.Running}} {{.State.Pid}}';
      const [status, program, isRunning, pid] = inspect(name, format).split(' ');
      assert.deepEqual([status, program, isRunning], ['running', runtime, 'true']);
      const cgroup = readFileSync(podman.inside(`/proc/${pid}/cgroup`), 'utf8');
      assert.match(cgroup, new RegExp(`${parent}/libpod-${id}`));
      assert.deepEqual(limitsOf(id), { memory: 100 << 20, pids: 60, cpuPercent: 90 });
    });

    await t.test('exec: output, exit code, user, environment, directory', () => {
      const flags = ['--user', '1000', '--env', 'A=1', '--workdir', '/tmp'];
      const command = ['sh', '-c', 'id -u; echo $A; pwd; echo err >&2; exit 3'];
      const exec = podman.run([...base, 'exec', ...flags, name, ...command]);
      assert.deepEqual([exec.status, exec.stdout, exec.stderr], [3, '1000\n1\n/tmp\n', 'err\n']);
      const piped = podman.run([...base, 'exec', '--interactive', name, 'cat'], 'through');
      assert.equal(piped.stdout, 'through');
      call('exec', '--detach', name, 'touch', '/detached');
    });

    await t.test('exec: a program that is not there', () => {
      const { status, stderr } = podman.run([...base, 'exec', name, 'missing']);
      assert.equal(status, 127);
      const text =
        'Error: tsrunc: exec: "missing": executable file not found in $PATH (/bin:/usr/bin): ENOENT (no such file or directory): OCI runtime attempted to invoke a command that was not found\n';
      if (isOurs) assert.equal(stderr, text);
    });

    await t.test('exec --tty: a terminal', { skip: scriptSkip }, () => {
      const args = [...base, 'exec', '--interactive', '--tty', name, 'tty'];
      const { status, stdout } = podman.runInTerminal(args);
      assert.deepEqual([status, stdout], [0, '/dev/pts/0\r\n']);
    });

    await t.test('cp, diff', async () => {
      await until('exec --detach', 'A /detached', () => {
        return /^A \/detached$/m.exec(call('diff', name))?.[0] ?? '';
      });
      call('cp', `${name}:/etc/passwd`, join(podman.directory, 'copied'));
      assert.match(readFileSync(join(podman.directory, 'copied'), 'utf8'), /^root:x:0:0:/);
    });

    await t.test('top', () => {
      assert.match(call('top', name), /^USER +PID .*\n(?:.*\n)?.*sh -c trap/);
    });

    await t.test('stats', () => {
      const format = '{{.PIDs}} {{.MemUsage}}';
      const stats = call('stats', '--no-stream', '--format', format, name);
      assert.match(stats, /^[12] [0-9.]+[kM]B \/ 104\.9MB$/);
    });

    await t.test('update: limits of the running container', () => {
      const pids = podman4 ? 60 : 50;
      const pidsLimit = podman4 ? [] : ['--pids-limit', '50']; // Podman 4 cannot change it
      const limits = ['--memory', '64m', '--memory-swap', '128m', ...pidsLimit, '--cpus', '0.5'];
      call('update', ...limits, name);
      assert.deepEqual(limitsOf(id), { memory: 64 << 20, pids, cpuPercent: 50 });
    });

    await t.test('pause, unpause', () => {
      call('pause', name);
      assert.equal(inspect(name, '{{.State.Status}}'), 'paused');
      const refused = podman.run([...base, 'exec', name, 'true']);
      assert.notEqual(refused.status, 0);
      call('unpause', name);
      assert.equal(inspect(name, '{{.State.Status}}'), 'running');
    });

    await t.test('kill with a signal, logs', async () => {
      call('kill', '--signal', 'USR1', name);
      await until('logs', 'started\nusr1', () => call('logs', name));
    });

    await t.test('stop, start, restart, kill, rm', () => {
      call('stop', '--time', '0', name);
      assert.equal(inspect(name, '{{.State.Status}} {{.State.ExitCode}}'), 'exited 137');
      call('start', name);
      call('restart', '--time', '0', name);
      assert.equal(inspect(name, '{{.State.Status}}'), 'running');
      call('kill', name);
      assert.equal(call('wait', name), '137');
      call('rm', '--force', name);
      assert.deepEqual(cgroupsNamed(`libpod-${id}`), []);
    });
  });

  await t.test('init, start --attach: the container is made before it is started', () => {
    const name = `made-${runtime}`;
    call('create', ...options, '--name', name, BOX, 'echo', 'late');
    call('init', name);
    assert.equal(inspect(name, '{{.State.Status}}'), 'initialized');
    assert.equal(call('start', '--attach', name), 'late');
    call('rm', name);
  });

  await t.test('restart policy: on-failure, twice', async () => {
    const name = `restarts-${runtime}`;
    run(['--detach', '--name', name, '--restart', 'on-failure:2'], 'sh', '-c', 'echo x; exit 1');
    const format = '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}';
    await until('restarts', '2 exited 1', () => inspect(name, format));
    assert.equal(call('logs', name), 'x\nx\nx');
    call('rm', name);
  });

  await t.test('health check: healthy, then not', () => {
    const name = `health-${runtime}`;
    // Podman leaves the intervals to systemd's timers; each check is an exec.
    const check = ['--health-cmd', 'test -e /tmp/well', '--health-interval', 'disable'];
    const flags = ['--detach', '--name', name, ...check, '--health-retries', '1'];
    run(flags, 'sh', '-c', 'touch /tmp/well; exec sleep 1000');
    const health = () => inspect(name, '{{.State.Health.Status}}');
    call('healthcheck', 'run', name);
    assert.equal(health(), 'healthy');
    call('exec', name, 'rm', '/tmp/well');
    assert.equal(podman.run([...base, 'healthcheck', 'run', name]).status, 1);
    assert.equal(health(), 'unhealthy');
    call('rm', '--force', '--time', '0', name);
  });

  await t.test('pod: containers share namespaces and a cgroup', () => {
    const pod = `pod-${runtime}`;
    call(
      ...['pod', 'create', '--name', pod, '--network', 'none', '--cgroup-parent', parent],
      ...['--share', 'ipc,net,uts,pid', '--hostname', 'inpod'],
    );
    const inPod = ['--pod', pod, '--name'];
    const links = 'hostname; for n in ipc net pid; do readlink /proc/self/ns/$n; done';
    call('run', '--detach', ...inPod, `one-${runtime}`, BOX, 'sleep', '1000');
    const first = call('exec', `one-${runtime}`, 'sh', '-c', links);
    const second = call('run', '--rm', ...inPod, `two-${runtime}`, BOX, 'sh', '-c', links);
    assert.equal(second, first);
    assert.match(first, /^inpod\nipc:/);
    call('pod', 'pause', pod);
    call('pod', 'unpause', pod);
    call('pod', 'stop', '--time', '0', pod);
    call('pod', 'rm', '--force', '--time', '0', pod);
    assert.equal(call('ps', '--all', '--quiet'), '');
  });

  await t.test('container checkpoint, restore', { skip: criuSkip }, async () => {
    const name = `frozen-${runtime}`;
    const script = 'i=0; while :; do i=$((i+1)); echo $i >/count; sleep 0.1; done';
    run(['--detach', '--name', name], 'sh', '-c', script);
    const count = () => Number(call('exec', name, 'cat', '/count'));
    await until('counting', 'true', () => String(count() > 3));
    const file = join(podman.directory, 'checkpoint.tar.gz');
    call('container', 'checkpoint', '--export', file, name);
    assert.equal(inspect(name, '{{.State.Status}} {{.State.Checkpointed}}'), 'exited true');
    call('container', 'restore', name);
    assert.equal(inspect(name, '{{.State.Status}}'), 'running');
    const restored = count();
    assert.ok(restored > 3, `${restored}`);
    await until('counting again', 'true', () => String(count() > restored));
    call('rm', '--force', '--time', '0', name);
    call('container', 'restore', '--import', file, '--name', `${name}-2`);
    call('exec', `${name}-2`, 'cat', '/count');
    call('rm', '--force', '--time', '0', `${name}-2`);
  });

  await t.test('system prune: what has stopped is gone', () => {
    run(['--name', `stopped-${runtime}`], 'true');
    call('system', 'prune', '--force');
    assert.equal(call('ps', '--all', '--quiet'), '');
  });

  // Of its own cgroups Podman keeps those of the monitors, empty.
  const left = cgroupsNamed(parent.slice(1)).flatMap((path) => directoriesBelow(path));
  for (const path of left) rmdirSync(path);

  await t.test('nothing is left of the runtime', { skip: !isOurs && 'of ours only' }, () => {
    const state = podman.inside('/run/tsrunc');
    assert.deepEqual(existsSync(state) ? readdirSync(state) : [], []);
    assert.deepEqual(
      left.filter((path) => /\/libpod-[0-9a-f]/.test(path)),
      [],
    );
  });
}

/** What the cgroups of a container say, whichever version they are of. */
function limitsOf(id: string): { memory: number; pids: number; cpuPercent: number } {
  const read = (file: string): string | undefined => {
    const paths = cgroupsNamed(`libpod-${id}`).map((path) => join(path, file));
    return paths.filter((path) => existsSync(path)).map((path) => readFileSync(path, 'utf8'))[0];
  };
  const cpu = read('cpu.max') ?? `${read('cpu.cfs_quota_us')} ${read('cpu.cfs_period_us')}`;
  const [quota, period] = cpu.split(' ').map(Number);
  return {
    memory: Number(read('memory.max') ?? read('memory.limit_in_bytes')),
    pids: Number(read('pids.max')),
    cpuPercent: (100 * Number(quota)) / Number(period),
  };
}

/** A directory and those in it, innermost first. */
function directoriesBelow(path: string): string[] {
  const entries = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...entries.flatMap(({ name }) => directoriesBelow(join(path, name))), path];
}
