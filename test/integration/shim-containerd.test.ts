// Debian's containerd with our shim: what its clients do, and what happens when the daemon or the shim is killed.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { locateCgroup } from '../../internal/cgroups/index.ts';
import { runBlocking } from '../../internal/linux/index.ts';
import { DEFAULT_ROOT } from '../../internal/shim/runtime-options.ts';
import {
  type CtrResult,
  type DaemonKind,
  skipWithout as skipDaemon,
  TestDaemon,
} from '../fixtures/daemon.ts';
import {
  isAlive,
  type RuntimeName,
  runtimeProgram,
  sharedRootfs,
  shimProgram,
  skipWithout,
  until,
} from '../fixtures/shim.ts';
import { peer } from '../peers/index.ts';

type Kind = Exclude<DaemonKind, 'tscontainerd'>;
const RUNTIME = ['--runtime', 'io.containerd.tsrunc.v2'];

let machines = 0;

/** containerd with our shim on its PATH, and a runtime under the name of the shim's default one. */
class Machine implements AsyncDisposable {
  /** The runtime's state is in one place for all daemons of a machine, by namespace. */
  readonly namespace = `shim-test-${process.pid}-${machines++}`;
  readonly kind: Kind;
  readonly directory: string;
  daemon: TestDaemon;

  private constructor(kind: Kind, daemon: TestDaemon, directory: string) {
    this.kind = kind;
    this.daemon = daemon;
    this.directory = directory;
  }

  static async start(kind: Kind, runtime: RuntimeName): Promise<Machine> {
    const directory = mkdtempSync(join(tmpdir(), 'shim-containerd-'));
    const programs = join(directory, 'bin');
    mkdirSync(programs);
    symlinkSync(runtimeProgram(runtime), join(programs, 'tsrunc'));
    return new Machine(kind, await startDaemon(kind, directory), directory);
  }

  ctr(...args: string[]): CtrResult {
    const ctr = this.kind === 'containerd-1.6' ? 'ctr-1.6' : 'ctr-2.1';
    return this.daemon.ctr(ctr, ['--namespace', this.namespace, ...args]);
  }

  /** Starts a ctr that is not waited for. */
  spawn(args: readonly string[]): ChildProcess {
    return spawn(this.ctrPath, [...this.ctrFlags, ...args]);
  }

  get ctrPath(): string {
    return peer(this.kind === 'containerd-1.6' ? 'ctr-1.6' : 'ctr-2.1').path;
  }

  get ctrFlags(): string[] {
    return ['--address', this.daemon.address, '--namespace', this.namespace];
  }

  /** Output of a ctr that must succeed. */
  output(...args: string[]): string {
    const { status, stdout, stderr } = this.ctr(...args);
    assert.equal(status, 0, `ctr ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  run(...args: string[]): CtrResult {
    return this.ctr('run', ...RUNTIME, '--rootfs', ...args);
  }

  runDetached(...args: string[]): void {
    this.output('run', ...RUNTIME, '-d', '--rootfs', ...args);
  }

  /** Deletes a task; returns its exit code, which ctr says in words (1.6) or with its own (2.1). */
  deleteTask(id: string): number | null {
    const { status, stderr } = this.ctr('tasks', 'delete', id);
    const words = /exit with non-zero exit code (\d+)/.exec(stderr)?.[1];
    return words === undefined ? status : Number(words);
  }

  status(id: string): string | undefined {
    const line = this.output('tasks', 'ls')
      .split('\n')
      .find((text) => text.startsWith(`${id} `));
    return line?.trim().split(/\s+/)[2];
  }

  pid(id: string): number {
    const line = this.output('tasks', 'ls')
      .split('\n')
      .find((text) => text.startsWith(`${id} `));
    return Number(line?.trim().split(/\s+/)[1]);
  }

  /** A shim is the parent of its containers. */
  shimOf(id: string): number {
    const status = readFileSync(`/proc/${this.pid(id)}/status`, 'utf8');
    return Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]);
  }

  /** Kills the daemon and starts it again on the same directories. */
  async restart(): Promise<void> {
    await this.daemon.kill('SIGKILL');
    this.daemon = await startDaemon(this.kind, this.directory);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of this.ctr('tasks', 'ls', '-q').stdout.split('\n').filter(Boolean)) {
      this.ctr('tasks', 'delete', '--force', id);
    }
    await this.daemon.kill('SIGTERM');
    rmSync(join(DEFAULT_ROOT, this.namespace), { recursive: true, force: true });
    // containerd's default for a container is a cgroup below one with the namespace's name.
    const cgroup = locateCgroup({ id: '', cgroupsPath: `/${this.namespace}` });
    if (cgroup.exists()) runBlocking(cgroup.remove());
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function startDaemon(kind: Kind, directory: string): Promise<TestDaemon> {
  const path = [join(directory, 'bin'), dirname(shimProgram), peer(kind).env['PATH']].join(':');
  return TestDaemon.start(kind, { directory, env: { PATH: path } });
}

const PAIRS = [
  ['containerd-1.6', 'tsrunc'],
  ['containerd-2.1', 'tsrunc'],
  ['containerd-2.1', 'runc-1.3'],
] as const;

for (const [kind, runtime] of PAIRS) {
  const skip = skipDaemon(kind) || skipWithout(runtime);
  const rootfs = (): string => sharedRootfs();

  test(`${kind}, ${runtime}: ctr run --rm gives output and exit code`, { skip }, async () => {
    await using machine = await Machine.start(kind, runtime);
    const result = machine.run(
      '--rm',
      rootfs(),
      'a',
      '/bin/sh',
      '-c',
      'echo out; echo err >&2; exit 5',
    );
    assert.deepEqual([result.status, result.stdout], [5, 'out\n']);
    assert.match(result.stderr, /^err\n/);
    assert.equal(machine.output('containers', 'ls', '-q'), '');
  });

  test(`${kind}, ${runtime}: ctr run -t has a terminal`, {
    skip: skip || skipWithoutScript(),
  }, async () => {
    await using machine = await Machine.start(kind, runtime);
    const args = ['run', '--rm', '-t', ...RUNTIME, '--rootfs'];
    const command = [
      machine.ctrPath,
      ...machine.ctrFlags,
      ...args,
      rootfs(),
      'a',
      '/bin/sh',
      '-c',
      '"tty; exit 6"',
    ].join(' ');
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const [code, output] = await outcome(child);
    assert.match(output, /\/dev\/pts\/0/);
    assert.equal(code, 6);
  });

  test(`${kind}, ${runtime}: ctr run -d, exec, ps, metrics, pause, resume, kill, delete`, {
    skip,
  }, async () => {
    await using machine = await Machine.start(kind, runtime);
    machine.runDetached(rootfs(), 'a', '/bin/sleep', '1000');
    assert.equal(machine.status('a'), 'RUNNING');
    const exec = machine.ctr(
      'tasks',
      'exec',
      '--exec-id',
      'e',
      'a',
      '/bin/sh',
      '-c',
      'echo in; exit 4',
    );
    assert.deepEqual([exec.status, exec.stdout], [4, 'in\n']);
    assert.match(machine.output('tasks', 'ps', 'a'), new RegExp(`^${machine.pid('a')}\\s`, 'm'));
    assert.match(machine.output('tasks', 'metrics', 'a'), /pids\.current\s+1/);
    machine.output('tasks', 'pause', 'a');
    assert.equal(machine.status('a'), 'PAUSED');
    machine.output('tasks', 'resume', 'a');
    assert.equal(machine.status('a'), 'RUNNING');
    const shim = machine.shimOf('a');
    machine.output('tasks', 'kill', '--signal', 'SIGKILL', 'a');
    await until(() => machine.status('a') === 'STOPPED', 'the task to stop');
    assert.equal(machine.deleteTask('a'), 137);
    assert.equal(machine.status('a'), undefined);
    machine.output('containers', 'rm', 'a');
    await until(() => !isAlive(shim), 'the shim to leave');
  });

  test(`${kind}, ${runtime}: containers outlive a daemon that is killed`, { skip }, async () => {
    await using machine = await Machine.start(kind, runtime);
    machine.runDetached(rootfs(), 'a', '/bin/sleep', '1000');
    const script = `while [ ! -e /tmp/${kind}-${runtime} ]; do sleep 0.05; done; exit 3`;
    const short = ['/bin/sh', '-c', script];
    machine.runDetached(rootfs(), 'b', ...short);
    const [pidA, pidB] = [machine.pid('a'), machine.pid('b')];
    await machine.daemon.kill('SIGKILL');
    assert.ok(isAlive(pidA));
    // b ends while nobody is there to hear of it.
    mkdirSync(join(rootfs(), 'tmp', `${kind}-${runtime}`));
    await until(() => !isAlive(pidB), 'the container to end');
    await machine.restart();
    assert.equal(machine.status('a'), 'RUNNING');
    assert.equal(machine.status('b'), 'STOPPED');
    assert.equal(machine.deleteTask('b'), 3, 'the exit code was kept');
    const exec = machine.ctr('tasks', 'exec', '--exec-id', 'e', 'a', '/bin/echo', 'still here');
    assert.equal(exec.stdout, 'still here\n');
    machine.output('tasks', 'kill', '--signal', 'SIGKILL', 'a');
    await until(() => machine.status('a') === 'STOPPED', 'the task to stop');
    assert.equal(machine.deleteTask('a'), 137);
  });

  test(`${kind}, ${runtime}: a shim that is killed is cleaned up`, { skip }, async () => {
    await using machine = await Machine.start(kind, runtime);
    machine.runDetached(rootfs(), 'a', '/bin/sleep', '1000');
    const pid = machine.pid('a');
    process.kill(machine.shimOf('a'), 'SIGKILL');
    await until(() => !isAlive(pid), 'the container to be killed');
    await until(() => machine.status('a') === undefined, 'the task to go');
    machine.output('containers', 'rm', 'a');
    assert.equal(mountsBelow(machine.directory), '');
  });

  test(`${kind}, ${runtime}: twenty containers at once`, { skip }, async () => {
    await using machine = await Machine.start(kind, runtime);
    const ids = Array.from({ length: 20 }, (_, index) => `c${index}`);
    const outcomes = ids.map((id, index) => {
      const script = `echo ${id}; exit ${index}`;
      const args = ['run', '--rm', ...RUNTIME, '--rootfs', rootfs(), id, '/bin/sh', '-c', script];
      return outcome(machine.spawn(args));
    });
    const expected = ids.map((id, index) => [index, `${id}\n`]);
    assert.deepEqual(await Promise.all(outcomes), expected);
    assert.equal(mountsBelow(machine.directory), '');
  });

  test(`${kind}, ${runtime}: events come in the order of a task's life`, { skip }, async () => {
    await using machine = await Machine.start(kind, runtime);
    const events = machine.spawn(['events']);
    let text = '';
    events.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    // Subscribed when the first event is seen; this one does no harm.
    for (let index = 0; !text.includes('/namespaces/update'); index++) {
      machine.output('namespaces', 'label', machine.namespace, `probe=${index}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    machine.run('--rm', rootfs(), 'a', '/bin/true');
    await until(() => text.includes('/tasks/delete'), 'the last event');
    const topics = [...text.matchAll(/ (\/tasks\/\S+)/g)].map(([, topic]) => topic);
    assert.deepEqual(topics, ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete']);
    events.kill();
    await once(events, 'exit');
  });
}

async function outcome(child: ChildProcess): Promise<[number | null, string]> {
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return [code, output];
}

function mountsBelow(directory: string): string {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return mounts.filter((line) => line.includes(directory)).join('\n');
}

function skipWithoutScript(): false | string {
  return existsSync('/usr/bin/script') ? false : 'no script(1) to make a terminal with';
}
