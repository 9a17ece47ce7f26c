// Debian's Docker, of two releases, with tsrunc as a runtime of its own; and the same with runc: what both do is what
// Docker's users rely on.
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { BOX, type DockerResult, skipWithoutDocker, TestDocker } from '../fixtures/docker.ts';
import { cgroupsNamed, tsruncProgram } from '../fixtures/runtime-bundle.ts';
import { unmountedHierarchies } from '../fixtures/tasks.ts';

const directory = mkdtempSync(join(tmpdir(), 'runtime-docker-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const RUNTIMES = ['tsrunc', 'runc'] as const;
/** Why containerd's shim reads no statistics here, whatever the runtime; empty where it does. */
const unmounted = unmountedHierarchies();
const hidden =
  unmounted.length === 0 ? '' : `containerd's shim wants ${unmounted.join(', ')} mounted`;
/** What Docker says before the runtime's own message. */
const CREATE_FAILED = {
  'docker-28':
    'docker: Error response from daemon: failed to create task for container: failed to create shim task: OCI runtime create failed: ',
  'docker-20':
    'docker: Error response from daemon: failed to create shim task: OCI runtime create failed: ',
} as const;

for (const kind of ['docker-28', 'docker-20'] as const) {
  test(`${kind} starts containers`, { skip: skipWithoutDocker(kind) }, async (t) => {
    await using docker = await TestDocker.start(kind, {
      runtimes: { tsrunc: { path: tsruncProgram(directory) } },
    });
    await docker.loadBox();
    for (const runtime of RUNTIMES) {
      await t.test(`with ${runtime}`, async (t) => {
        await containers(t, docker, runtime);
      });
    }
  });
}

async function containers(
  t: TestContext,
  docker: TestDocker,
  runtime: (typeof RUNTIMES)[number],
): Promise<void> {
  const isOurs = runtime === 'tsrunc';
  const prefix = ['run', '--runtime', runtime, '--network', 'none'];
  const run = (flags: readonly string[], ...command: string[]): DockerResult => {
    return docker.run([...prefix, ...flags, BOX, ...command]);
  };
  /** A call that must succeed; its output. */
  const call = (...args: string[]): string => {
    const { status, stdout, stderr } = docker.run(args);
    assert.equal(status, 0, `docker ${args.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  };
  const inspect = (name: string, format: string): string => {
    return call('inspect', '--format', format, name);
  };
  const until = async (what: string, expected: string, look: () => string): Promise<void> => {
    const deadlineMs = performance.now() + 30_000;
    for (let seen = look(); seen !== expected; seen = look()) {
      assert.ok(performance.now() < deadlineMs, `${what}: ${seen} instead of ${expected}`);
      await delay(50); // docker has no call that waits for this
    }
  };

  await t.test('run: output, exit code, nothing left', () => {
    const { status, stdout, stderr } = run(['--rm'], 'sh', '-c', 'echo out; echo err >&2; exit 7');
    assert.deepEqual([status, stdout, stderr], [7, 'out\n', 'err\n']);
    assert.equal(call('ps', '--all', '--quiet'), '');
  });

  await t.test('run --interactive: stdin', () => {
    const args = [...prefix, '--rm', '--interactive', BOX, 'cat'];
    assert.equal(docker.run(args, 'a line\n'.repeat(1000)).stdout, 'a line\n'.repeat(1000));
  });

  await t.test('run: user, environment, directory, hostname, limits, mounts', () => {
    const file = join(directory, 'mounted');
    writeFileSync(file, 'mounted\n');
    const flags = ['--rm', '--user', '1000:1000', '--env', 'A=b c', '--workdir', '/tmp'];
    const more = ['--hostname', 'h', '--ulimit', 'nofile=100', '--sysctl', 'kernel.msgmax=1000'];
    const mounts = ['--read-only', '--tmpfs', '/run', '--volume', `${file}:/mounted:ro`];
    const script =
      'id -u; echo "$A"; pwd; hostname; ulimit -n; cat /proc/sys/kernel/msgmax /mounted; ' +
      'touch /x 2>/dev/null || echo read-only; ' +
      'grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status';
    const security = ['--cap-drop', 'ALL', '--security-opt', 'no-new-privileges'];
    const { stdout } = run([...flags, ...more, ...mounts, ...security], 'sh', '-c', script);
    const lines = ['1000', 'b c', '/tmp', 'h', '100', '1000', 'mounted', 'read-only'];
    const status = 'CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n';
    assert.equal(stdout, `${lines.join('\n')}\n${status}`);
  });

  await t.test('run --init: a small init is process 1', () => {
    const { stdout } = run(['--rm', '--init'], 'sh', '-c', 'tr "\\0" " " < /proc/1/cmdline');
    assert.match(stdout, /^\/sbin\/docker-init -- sh -c /);
  });

  await t.test('run --privileged: all devices', (t) => {
    const { status, stdout, stderr } = run(['--rm', '--privileged'], 'sh', '-c', 'ls /dev | wc -l');
    if (!isOurs && /unable to apply caps/.test(stderr)) {
      t.skip('this runc cannot give the capabilities that this process lacks itself');
      return;
    }
    assert.deepEqual([status, Number(stdout) > 20], [0, true], stderr);
  });

  await t.test('run --memory: killed for want of memory, and shown as that', (t) => {
    const name = `oom-${runtime}`;
    const limits = ['--memory', '20m', '--memory-swap', '20m'];
    const { status } = run(['--name', name, ...limits], 'tail', '/dev/zero');
    const state = inspect(name, '{{.State.OOMKilled}} {{.State.ExitCode}}');
    call('rm', name);
    assert.equal(status, 137);
    if (hidden === '') assert.equal(state, 'true 137');
    else t.diagnostic(`OOMKilled is not told: ${hidden}`);
  });

  await t.test('run --tty: a terminal', { skip: scriptSkip() }, () => {
    const args = [...prefix, '--rm', '--interactive', '--tty', BOX, 'tty'];
    const { status, stdout } = docker.runInTerminal(args);
    assert.deepEqual([status, stdout], [0, '/dev/pts/0\r\n']);
  });

  await t.test('run: a program that is not there is 127, one that may not run 126', () => {
    const missing = run(['--rm'], 'missing');
    const denied = run(['--rm'], '/etc/passwd');
    assert.deepEqual([missing.status, denied.status], [127, 126]);
    if (!isOurs) return;
    const texts = [missing, denied].map(({ stderr }) => stderr.split('\n')[0]?.replace(/\.$/, ''));
    const end = docker.kind === 'docker-20' ? ': unknown' : '';
    assert.deepEqual(texts, [
      `${CREATE_FAILED[docker.kind]}exec: "missing": executable file not found in $PATH (/bin:/usr/bin): ENOENT (no such file or directory)${end}`,
      `${CREATE_FAILED[docker.kind]}exec: "/etc/passwd": may not be executed by the process's user: EACCES (permission denied): make it executable in the image (chmod +x), and its directories accessible${end}`,
    ]);
  });

  await t.test('a container that goes on', async (t) => {
    const name = `long-${runtime}`;
    const script = 'trap "echo usr1" USR1; echo started; while :; do sleep 0.1; done';
    const id = run(['--detach', '--name', name], 'sh', '-c', script).stdout.trim();
    assert.match(id, /^[0-9a-f]{64}$/);

    await t.test('exec: output, exit code, user, environment, directory', () => {
      const flags = ['--user', '1000', '--env', 'A=1', '--workdir', '/tmp'];
      const command = ['sh', '-c', 'id -u; echo $A; pwd; echo err >&2; exit 3'];
      const exec = docker.run(['exec', ...flags, name, ...command]);
      assert.deepEqual([exec.status, exec.stdout, exec.stderr], [3, '1000\n1\n/tmp\n', 'err\n']);
      const piped = docker.run(['exec', '--interactive', name, 'cat'], 'through');
      assert.equal(piped.stdout, 'through');
    });

    await t.test('exec: a program that is not there', () => {
      const { status, stdout, stderr } = docker.run(['exec', name, 'missing']);
      assert.equal(status, docker.kind === 'docker-28' ? 127 : 126);
      const end = docker.kind === 'docker-20' ? ': unknown' : '';
      const text = `OCI runtime exec failed: exec: "missing": executable file not found in $PATH (/bin:/usr/bin): ENOENT (no such file or directory)${end}`;
      if (isOurs) assert.equal(`${stdout}${stderr}`.trim(), text);
    });

    await t.test('exec --tty: a terminal', { skip: scriptSkip() }, () => {
      const args = ['exec', '--interactive', '--tty', name, 'tty'];
      const { status, stdout } = docker.runInTerminal(args);
      assert.deepEqual([status, stdout], [0, '/dev/pts/0\r\n']);
    });

    await t.test('top', () => {
      assert.match(call('top', name), /^UID +PID .*\n(?:.*\n)?.*sh -c trap/);
    });

    await t.test('stats', { skip: hidden !== '' && hidden }, () => {
      const format = '{{.PIDs}} {{.MemUsage}}';
      const stats = call('stats', '--no-stream', '--format', format, name);
      assert.match(stats, /^[12] [0-9.]+[KM]iB \/ /);
    });

    await t.test('update: limits of the running container', () => {
      const limits = ['--memory', '64m', '--memory-swap', '128m', '--pids-limit', '50'];
      call('update', ...limits, '--cpus', '0.5', name);
      const cgroups = cgroupsNamed(id);
      const values = ['pids.max', 'cpu.cfs_quota_us', 'cpu.max'].flatMap((file) =>
        cgroups.map((path) => join(path, file)).filter((path) => existsSync(path)),
      );
      assert.ok(values.length >= 2, `no limits in ${cgroups.join(', ')}`);
      const memory = ['memory.limit_in_bytes', 'memory.max'].flatMap((file) =>
        cgroups.map((path) => join(path, file)).filter((path) => existsSync(path)),
      );
      assert.deepEqual(
        memory.map((path) => readFileSync(path, 'utf8')),
        [`${64 << 20}\n`],
      );
    });

    await t.test('pause, unpause', () => {
      call('pause', name);
      assert.equal(inspect(name, '{{.State.Status}}'), 'paused');
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
      assert.deepEqual(cgroupsNamed(id), []);
    });
  });

  await t.test('restart policy: on-failure, twice', async () => {
    const name = `restarts-${runtime}`;
    run(['--detach', '--name', name, '--restart', 'on-failure:2'], 'sh', '-c', 'echo x; exit 1');
    const format = '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}';
    await until('restarts', '2 exited 1', () => inspect(name, format));
    assert.equal(call('logs', name), 'x\nx\nx');
    call('rm', name);
  });

  await t.test('health check: healthy, then not', async () => {
    const name = `health-${runtime}`;
    const check = ['--health-cmd', 'test -e /tmp/well', '--health-interval', '200ms'];
    const flags = ['--detach', '--name', name, ...check, '--health-retries', '1'];
    run(flags, 'sh', '-c', 'touch /tmp/well; exec sleep 1000');
    const health = () => inspect(name, '{{.State.Health.Status}}');
    await until('health', 'healthy', health);
    call('exec', name, 'rm', '/tmp/well');
    await until('health', 'unhealthy', health);
    call('rm', '--force', name);
  });

  await t.test('nothing is left of the runtime', { skip: !isOurs && 'of ours only' }, () => {
    const root = join(docker.directory, 'exec/runtime-tsrunc/moby');
    const state = existsSync(root) && statSync(root).isDirectory() ? readdirSync(root) : [];
    assert.deepEqual(state, []);
    assert.deepEqual(cgroupsBelow('docker'), []);
  });
}

/** Names of the cgroups that docker's containers of this test still have. */
function cgroupsBelow(name: string): string[] {
  return cgroupsNamed(name)
    .flatMap((path) => readdirSync(path))
    .filter((entry) => /^[0-9a-f]{64}$/.test(entry));
}

function scriptSkip(): false | string {
  return existsSync('/usr/bin/script') ? false : 'no program "script"';
}
