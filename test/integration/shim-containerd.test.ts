// Debian's containerd with our shim: what its clients do, and what happens when the daemon or the shim is killed.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { skipWithout as skipDaemon } from '../fixtures/daemon.ts';
import { isAlive, sharedRootfs, skipWithout, until } from '../fixtures/shim.ts';
import { Machine } from '../fixtures/shim-machine.ts';

const PAIRS = [
  ['containerd-1.6', 'tsrunc'],
  ['containerd-2.1', 'tsrunc'],
  ['containerd-1.6', 'in-process'],
  ['containerd-2.1', 'in-process'],
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
    assert.equal(machine.calls, '', 'no program was started in the place of the code inside');
  });

  test(`${kind}, ${runtime}: ctr run -t has a terminal`, {
    skip: skip || skipWithoutScript(),
  }, async () => {
    await using machine = await Machine.start(kind, runtime);
    const args = ['run', '--rm', '-t', ...machine.runtime, '--rootfs'];
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

  const crowd = kind === 'containerd-2.1' && runtime === 'in-process' ? 100 : 20;
  test(`${kind}, ${runtime}: ${crowd} containers at once`, { skip }, async () => {
    await using machine = await Machine.start(kind, runtime);
    const ids = Array.from({ length: crowd }, (_, index) => `c${index}`);
    const outcomes = ids.map((id, index) => {
      const script = `echo ${id}; exit ${index}`;
      const args = [
        'run',
        '--rm',
        ...machine.runtime,
        '--rootfs',
        rootfs(),
        id,
        '/bin/sh',
        '-c',
        script,
      ];
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
