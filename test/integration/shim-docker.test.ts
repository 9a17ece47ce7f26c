// Debian's Docker with our shim in the place of containerd's, over the program and with tsrunc's code inside: what its users
// rely on, through a dockerd that is killed under running containers (live-restore). Docker 20 knows no other shims.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { liveProcesses, processInfo } from '../demo/process-tree.ts';
import { BOX, type DockerResult, skipWithoutDocker, TestDocker } from '../fixtures/docker.ts';
import { isAlive, shimProgram, skipWithout } from '../fixtures/shim.ts';
import { peer } from '../peers/index.ts';

const KIND = 'docker-28';
const bin = join(import.meta.dirname, '../../dist/bin');
const runtimeType = 'io.containerd.tsrunc.v2';
const options = { BinaryName: join(bin, 'tsrunc') };
const runtimes = {
  program: { runtimeType, options },
  inside: { runtimeType, options: { ...options, InProcess: true } },
} as const;

test('docker-28 runs containers in our shim, and finds them again after a SIGKILL', {
  skip: skipWithoutDocker(KIND) || skipWithout('tsrunc'),
}, async (t) => {
  const config = { 'live-restore': true };
  await using docker = await TestDocker.start(KIND, { runtimes, path: [bin], config });
  await docker.loadBox();
  for (const runtime of ['program', 'inside'] as const) {
    await t.test(`with the runtime ${runtime}`, (inner) => containers(inner, docker, runtime));
  }
});

async function containers(
  t: TestContext,
  docker: TestDocker,
  runtime: keyof typeof runtimes,
): Promise<void> {
  const prefix = ['run', '--runtime', runtime, '--network', 'none'];
  const run = (flags: readonly string[], ...command: string[]): DockerResult => {
    return docker.run([...prefix, ...flags, BOX, ...command]);
  };
  const call = (...args: string[]): string => {
    const { status, stdout, stderr } = docker.run(args);
    assert.equal(status, 0, `docker ${args.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  };
  const inspect = (name: string, format: string) => call('inspect', '--format', format, name);
  const until = async (what: string, expected: string, look: () => string): Promise<void> => {
    const deadlineMs = performance.now() + 30_000;
    for (let seen = look(); seen !== expected; seen = look()) {
      assert.ok(performance.now() < deadlineMs, `${what}: ${seen} instead of ${expected}`);
      await delay(50); // docker has no call that waits for this
    }
  };
  const pidOf = (name: string) => Number(inspect(name, '{{.State.Pid}}'));
  const shimOf = (name: string) => processInfo(pidOf(name))?.parent ?? 0;

  await t.test('run: output, exit code, stdin, nothing left', () => {
    const { status, stdout, stderr } = run(['--rm'], 'sh', '-c', 'echo out; echo err >&2; exit 7');
    assert.deepEqual([status, stdout, stderr], [7, 'out\n', 'err\n']);
    const input = 'a line\n'.repeat(1000);
    const args = [...prefix, '--rm', '--interactive', BOX, 'cat'];
    assert.equal(docker.run(args, input).stdout, input);
    assert.equal(run(['--rm'], 'missing').status, 127);
    assert.equal(run(['--rm'], '/etc/passwd').status, 126);
    assert.equal(call('ps', '--all', '--quiet'), '');
  });

  await t.test('logs --follow: every line, to the end of the container', async () => {
    const name = `logs-${runtime}`;
    const script = 'for i in $(seq 1 2000); do echo $i; done; sleep 1; echo last';
    run(['--detach', '--name', name], 'sh', '-c', script);
    const args = ['--host', docker.host, 'logs', '--follow', name];
    const client = spawn(peer(KIND).path, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const lines = (await client.stdout.setEncoding('utf8').toArray()).join('').trim().split('\n');
    const expected = Array.from({ length: 2000 }, (_, index) => String(index + 1));
    assert.deepEqual(lines, [...expected, 'last']);
    call('rm', name);
  });

  await t.test('exec, top, pause, update, stop, start, kill', async () => {
    const name = `life-${runtime}`;
    run(['--detach', '--name', name, '--memory', '50m'], 'sleep', '1000');
    const exe = processInfo(shimOf(name))?.arguments[0];
    assert.equal(exe, shimProgram);
    const exec = docker.run(['exec', '--user', '5', name, 'sh', '-c', 'id -u; exit 3']);
    assert.deepEqual([exec.status, exec.stdout], [3, '5\n']);
    assert.equal(docker.run(['exec', name, 'missing']).status, 127);
    assert.match(call('top', name), /sleep 1000/);
    call('pause', name);
    assert.equal(inspect(name, '{{.State.Status}}'), 'paused');
    call('unpause', name);
    call('update', '--memory', '40m', '--memory-swap', '40m', name);
    const limit = ['exec', name, 'cat', '/sys/fs/cgroup/memory/memory.limit_in_bytes'];
    const unified = ['exec', name, 'cat', '/sys/fs/cgroup/memory.max'];
    const seen = docker.run(limit).stdout || docker.run(unified).stdout;
    assert.equal(seen, `${40 << 20}\n`);
    // sleep is process 1 and has no handler: it is killed when the time is over.
    call('stop', '--time', '1', name);
    assert.equal(inspect(name, '{{.State.Status}} {{.State.ExitCode}}'), 'exited 137');
    call('start', name);
    assert.equal(docker.run(['exec', name, 'true']).status, 0);
    call('kill', name);
    await until('kill', 'exited 137', () => inspect(name, '{{.State.Status}} {{.State.ExitCode}}'));
    call('rm', name);
  });

  await t.test('restart policy: on-failure, twice', async () => {
    const name = `again-${runtime}`;
    run(['--detach', '--name', name, '--restart', 'on-failure:2'], 'sh', '-c', 'exit 4');
    const state = '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}';
    await until('restarts', '2 exited 4', () => inspect(name, state));
    call('rm', name);
  });

  await t.test('health check: healthy, then not', async () => {
    const name = `health-${runtime}`;
    const check = ['--health-cmd', 'test ! -e /tmp/ill', '--health-interval', '1s'];
    const flags = ['--detach', '--name', name, ...check, '--health-retries', '1'];
    run([...flags, '--tmpfs', '/tmp'], 'sleep', '1000');
    const status = () => inspect(name, '{{.State.Health.Status}}');
    await until('health', 'healthy', status);
    call('exec', name, 'touch', '/tmp/ill');
    await until('health', 'unhealthy', status);
    call('rm', '--force', name);
  });

  await t.test('live-restore: a dockerd that is killed finds its containers again', async () => {
    const [name, short] = [`alive-${runtime}`, `short-${runtime}`];
    const counter = 'i=0; while true; do echo $i; i=$((i+1)); sleep 0.05; done';
    run(['--detach', '--name', name], 'sh', '-c', counter);
    run(['--detach', '--name', short], 'sh', '-c', 'sleep 1; exit 6');
    const [pid, shim] = [pidOf(name), shimOf(name)];
    const shortPid = pidOf(short);
    await docker.killAndRestart(shim);
    assert.ok(isAlive(pid), 'the container lives on');
    assert.deepEqual([pidOf(name), shimOf(name)], [pid, shim], 'in the same shim');
    const before = call('logs', name).split('\n').length;
    await until('more output', 'true', () =>
      String(call('logs', name).split('\n').length > before),
    );
    const lines = call('logs', name).split('\n').map(Number);
    assert.deepEqual(
      lines,
      lines.map((_, index) => index),
      'no line is lost or torn',
    );
    assert.equal(docker.run(['exec', name, 'sh', '-c', 'exit 9']).status, 9);
    await until('the end of the other', 'exited', () => inspect(short, '{{.State.Status}}'));
    assert.equal(isAlive(shortPid), false);
    assert.equal(inspect(short, '{{.State.ExitCode}}'), '6', 'its exit code was kept');
    call('rm', '--force', name, short);
    await until('the shim to leave', 'false', () => String(isAlive(shim)));
  });

  await t.test('nothing is left: no shim, no mount', () => {
    assert.equal(call('ps', '--all', '--quiet'), '');
    const mounts = readFileSync(`/proc/${docker.process.pid}/mountinfo`, 'utf8').split('\n');
    const places = ['data', 'exec'].map((name) => ` ${join(docker.directory, name)}/`);
    const own = mounts.filter((line) => places.some((place) => line.includes(place)));
    assert.deepEqual(own, []);
    const shims = liveProcesses().filter(({ arguments: args }) => {
      return args[0] === shimProgram && args.some((arg) => arg.startsWith(docker.directory));
    });
    assert.deepEqual(shims, []);
  });
}
