// Debian's dockerd, of two releases, over our daemon (`--containerd=SOCKET`) instead of containerd: containers in our shim and
// runtime or in runc's shim; and with images in our daemon's stores, where dockerd can leave them there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TestDaemon } from '../fixtures/daemon.ts';
import {
  BOX,
  type DockerKind,
  OWN_NAMESPACES,
  skipWithoutDocker,
  TestDocker,
} from '../fixtures/docker.ts';
import { shimKinds } from '../fixtures/tasks.ts';
import { peer } from '../peers/index.ts';

const directory = mkdtempSync(join(tmpdir(), 'daemon-docker-'));
after(() => rmSync(directory, { recursive: true, force: true }));

const bin = join(import.meta.dirname, '../../dist/bin');
const built = shimKinds().find(({ name }) => name === 'containerd-shim-tsrunc-v2');
const ours = { path: join(bin, 'tsrunc') };
/** Docker 20 knows no shims by name: tsrunc is the runtime of runc's shim there. */
const shim = { runtimeType: 'io.containerd.tsrunc.v2' };

const CASES = [
  { name: 'docker-28', kind: 'docker-28', runtime: shim, hasOurImages: false },
  {
    name: 'docker-28 with its images in our daemon',
    kind: 'docker-28',
    runtime: shim,
    hasOurImages: true,
  },
  { name: 'docker-20', kind: 'docker-20', runtime: ours, hasOurImages: false },
] as const;

for (const { name, kind, runtime, hasOurImages } of CASES) {
  const skip = skipWithoutDocker(kind) || built?.skip || peer('docker-registry').skip;
  test(`${name} over tscontainerd`, { skip }, async (t) => {
    const release = kind === 'docker-28' ? '2.1' : '1.6';
    const env = { PATH: `${bin}:${peer(`containerd-shim-runc-v2-${release}`).env['PATH']}` };
    const home = mkdtempSync(join(directory, 'daemon-'));
    await using daemon = await TestDaemon.start('tscontainerd', {
      ...{ wrapper: OWN_NAMESPACES, env, directory: home },
    });
    const { address, process: child } = daemon;
    await using docker = await TestDocker.start(kind, {
      containerd: { address, pid: child.pid ?? 0 },
      path: [bin],
      runtimes: { ours: runtime },
      config: {
        'default-runtime': 'ours',
        debug: true, // its log tells each event that it got, should a call wait for one
        ...(hasOurImages ? { features: { 'containerd-snapshotter': true } } : {}),
      },
    });
    const docked = new Docked(docker);
    const inDocker = ['nsenter', '--net', '--mount', '--target', `${docker.process.pid}`];
    await images(t, docked, hasOurImages);
    await registry(t, docked, [...inDocker, peer('docker-registry').path]);
    await containers(t, docked);
    await t.test("runc's shim beside ours", () => {
      const run = docked.run(['--runtime', 'runc', '--rm'], 'sh', '-c', 'echo out; exit 4');
      assert.deepEqual([run.status, run.stdout], [4, 'out\n']);
    });
    await t.test('a daemon that was killed: the container runs on, and ends', async (t) => {
      docked.run(
        ['--detach', '--name', 'on'],
        'sh',
        '-c',
        'until test -e /end; do sleep 0.1; done',
      );
      await daemon.kill('SIGKILL');
      await using next = await TestDaemon.start('tscontainerd', {
        ...{ wrapper: inDocker, env, directory: home },
      });
      await docked.until('exec', 0, () => docker.run(['exec', 'on', 'touch', '/end']).status);
      assert.equal(docked.call('wait', 'on'), '0');
      docked.call('rm', 'on');
      await t.test('prune: nothing is left, of images neither', async () => {
        docked.call('system', 'prune', '--all', '--force', '--volumes');
        assert.equal(docked.call('images', '--all', '--quiet'), '');
        assert.equal(docked.call('ps', '--all', '--quiet'), '');
        const left = () =>
          ['containers', 'tasks', 'snapshots', 'content', 'images'].map((what) => {
            const list = what === 'content' || what === 'snapshots' ? ['ls'] : ['ls', '--quiet'];
            const { stdout } = next.ctr('ctr-2.1', ['--namespace', 'moby', what, ...list]);
            return `${what}: ${stdout.split('\n').filter((line) => !/^(KEY|DIGEST)|^$/.test(line))}`;
          });
        const nothing = ['containers: ', 'tasks: ', 'snapshots: ', 'content: ', 'images: '];
        await docked.until('left', nothing.join(), () => left().join());
      });
    });
  });
}

/** A docker with the calls of these tests. */
class Docked {
  readonly docker: TestDocker;
  constructor(docker: TestDocker) {
    this.docker = docker;
  }
  get kind(): DockerKind {
    return this.docker.kind;
  }
  /** A call that must succeed; its output. */
  call(...args: string[]): string {
    const { status, stdout, stderr } = this.docker.run(args);
    assert.equal(status, 0, `docker ${args.join(' ')}: ${stderr}`);
    return stdout.trimEnd();
  }
  run(flags: readonly string[], ...command: string[]) {
    return this.docker.run(['run', '--network', 'none', ...flags, BOX, ...command]);
  }
  async until<T>(what: string, expected: T, look: () => T): Promise<void> {
    const deadlineMs = performance.now() + 30_000;
    for (let seen = look(); seen !== expected; seen = look()) {
      assert.ok(performance.now() < deadlineMs, `${what}: ${seen} instead of ${expected}`);
      await delay(50); // docker has no call that waits for this
    }
  }
}

async function images(t: TestContext, docked: Docked, hasOurImages: boolean): Promise<void> {
  await t.test('load, inspect, tag, build, commit, save, rmi', async () => {
    await docked.docker.loadBox();
    const driver = docked.call('info', '--format', '{{.Driver}}');
    assert.equal(driver, hasOurImages ? 'overlayfs' : 'overlay2');
    assert.equal(
      docked.call('inspect', '--format', '{{.Os}}/{{.Architecture}}', BOX),
      'linux/amd64',
    );
    docked.call('tag', BOX, 'example.com/two:x');

    const context = join(directory, `context-${Math.random()}`);
    mkdirSync(context);
    writeFileSync(join(context, 'file'), 'of the context\n');
    const file = `FROM ${BOX}\nCOPY file /copied\nRUN echo built > /built\nENV A=b\nCMD ["cat", "/copied", "/built"]\n`;
    writeFileSync(join(context, 'Dockerfile'), file);
    docked.call('build', '--network', 'none', '--tag', 'example.com/built:1', context);
    const run = ['run', '--rm', '--network', 'none'];
    assert.equal(docked.call(...run, 'example.com/built:1'), 'of the context\nbuilt');
    assert.equal(docked.call(...run, 'example.com/built:1', 'sh', '-c', 'echo $A'), 'b');

    docked.run(['--name', 'changed'], 'sh', '-c', 'echo new > /new; rm /etc/passwd');
    assert.match(docked.call('diff', 'changed'), /^A \/new$/m);
    assert.match(docked.call('diff', 'changed'), /^D \/etc\/passwd$/m);
    docked.call('commit', 'changed', 'example.com/changed:1');
    docked.call('rm', 'changed');
    const look = ['sh', '-c', 'cat /new; test -e /etc/passwd || echo gone'];
    assert.equal(docked.call(...run, 'example.com/changed:1', ...look), 'new\ngone');

    const saved = join(context, 'saved.tar');
    docked.call('save', '--output', saved, 'example.com/changed:1');
    docked.call('rmi', 'example.com/changed:1');
    assert.match(docked.docker.run([...run, 'example.com/changed:1']).stderr, /example\.com/);
    assert.equal(docked.call('load', '--input', saved), 'Loaded image: example.com/changed:1');
    assert.equal(docked.call(...run, 'example.com/changed:1', ...look), 'new\ngone');
  });
}

async function registry(t: TestContext, docked: Docked, command: readonly string[]): Promise<void> {
  await t.test('push to a registry, rmi, pull', async () => {
    const storage = join(mkdtempSync(join(directory, 'registry-')), 'storage');
    const config = join(storage, '..', 'registry.yml');
    const lines = [
      'version: 0.1',
      'log: {level: error}',
      `storage: {filesystem: {rootdirectory: ${storage}}}`,
    ];
    writeFileSync(config, `${[...lines, 'http: {addr: "127.0.0.1:5000"}'].join('\n')}\n`);
    const [program = '', ...args] = command;
    const server = spawn(program, [...args, 'serve', config], { stdio: 'ignore' });
    try {
      const image = '127.0.0.1:5000/box:1';
      docked.call('tag', BOX, image);
      await docked.until('push', 0, () => docked.docker.run(['push', image]).status);
      docked.call('rmi', image);
      docked.call('pull', '--quiet', image);
      assert.equal(
        docked.call('run', '--rm', '--network', 'none', image, 'echo', 'pulled'),
        'pulled',
      );
      docked.call('rmi', image);
    } finally {
      server.kill();
    }
  });
}

async function containers(t: TestContext, docked: Docked): Promise<void> {
  const inspect = (name: string, format: string) =>
    docked.call('inspect', '--format', format, name);
  await t.test('run: streams, exit code; a program that is not there', () => {
    const run = docked.run(['--rm'], 'sh', '-c', 'echo out; echo err >&2; exit 7');
    assert.deepEqual([run.status, run.stdout, run.stderr], [7, 'out\n', 'err\n']);
    const piped = docked.docker.run(['run', '--rm', '-i', '--network', 'none', BOX, 'cat'], 'x\n');
    assert.deepEqual([piped.status, piped.stdout], [0, 'x\n']);
    const missing = docked.run(['--rm'], 'missing');
    assert.equal(missing.status, 127);
    assert.match(missing.stderr, /exec: "missing": executable file not found in \$PATH/);
    assert.equal(docked.call('ps', '--all', '--quiet'), '');
  });

  await t.test('a container that goes on: exec, logs, top, stats, update, pause, cp', async () => {
    const script = 'trap "echo usr1" USR1; echo started; while :; do sleep 0.1; done';
    docked.run(['--detach', '--name', 'long'], 'sh', '-c', script);
    const exec = docked.docker.run(['exec', '--env', 'A=1', 'long', 'sh', '-c', 'echo $A; exit 3']);
    assert.deepEqual([exec.status, exec.stdout], [3, '1\n']);
    await docked.until('logs', 'started', () => docked.call('logs', 'long'));
    docked.call('kill', '--signal', 'USR1', 'long');
    await docked.until('logs', 'started\nusr1', () => docked.call('logs', 'long'));
    assert.match(docked.call('top', 'long'), /sh -c trap/);
    const stats = docked.call(
      'stats',
      '--no-stream',
      '--format',
      '{{.Name}} {{.PIDs}} {{.MemUsage}}',
      'long',
    );
    // The shim of runc, which docker-20 uses, reads no statistics where a hierarchy is not mounted.
    assert.match(stats, docked.kind === 'docker-28' ? /^long [1-3] [0-9.]+[KM]iB \/ / : /^long \d/);
    docked.call('update', '--memory', '64m', '--memory-swap', '64m', 'long');
    docked.call('pause', 'long');
    assert.equal(inspect('long', '{{.State.Status}}'), 'paused');
    docked.call('unpause', 'long');
    const file = join(directory, 'copied');
    writeFileSync(file, 'copied\n');
    docked.call('cp', file, 'long:/copied');
    assert.equal(docked.call('exec', 'long', 'cat', '/copied'), 'copied');
  });

  await t.test('stop, start, restart, wait, rm; events of all of it', () => {
    docked.call('stop', '--time', '0', 'long');
    assert.equal(inspect('long', '{{.State.Status}} {{.State.ExitCode}}'), 'exited 137');
    docked.call('start', 'long');
    docked.call('restart', '--time', '0', 'long');
    docked.call('kill', 'long');
    assert.equal(docked.call('wait', 'long'), '137');
    docked.call('rm', 'long');
    const flags = ['--since', '0', '--until', `${Math.ceil(Date.now() / 1000)}`];
    const filter = ['--filter', 'container=long', '--format', '{{.Action}}'];
    const seen = docked.call('events', ...flags, ...filter).split('\n');
    const life = seen.filter((action) => /^(create|start|pause|unpause|die|destroy)$/.test(action));
    assert.deepEqual(life.join(' '), 'create start pause unpause die start die start die destroy');
  });
}
