// tsrunc gets SIGKILL in the middle of create or exec, at every point from the clone on: the process that it had begun does not
// wait for ever for a start that nobody can order, nor run without anybody knowing of it, but ends.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setChildSubreaper, waitForChild } from '../../internal/linux/index.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { isAlive, until } from '../fixtures/shim.ts';
import { peer } from '../peers/index.ts';

const skip = needsRoot;
const fixtureFile = join(import.meta.dirname, 'killed-runtime.fixture.ts');
const DEADLINE_MS = 10_000;

const runtime = (skip === false ? new RuntimeFixture() : undefined) as RuntimeFixture;
/** Has a container that stays. */
const neighbour = (skip === false ? new RuntimeFixture() : undefined) as RuntimeFixture;
const other = skip === false ? neighbour.newId('other') : '';
/** Its process. */
const usual: number[] = [];
before(() => {
  if (skip !== false) return;
  setChildSubreaper(true); // what tsrunc leaves behind becomes a child of this process
  neighbour.startSleeping(other);
  usual.push(...children());
});
after(async () => {
  if (skip !== false) return;
  // A container's init ends when all that was executed in it is reaped, by this process: before anything waits for it.
  for (const pid of children()) process.kill(pid, 'SIGKILL');
  usual.length = 0;
  const left = await survivors((pids) => pids.length === 0);
  runtime[Symbol.dispose]();
  neighbour[Symbol.dispose]();
  assert.deepEqual(left, []);
});

function children(): number[] {
  return readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'latin1')
    .split(' ')
    .filter((pid) => pid !== '')
    .map(Number);
}

/** Those that live, after a time in which all that are to end have ended. */
async function survivors(isExpected: (pids: readonly number[]) => boolean): Promise<number[]> {
  for (const deadline = performance.now() + DEADLINE_MS; ; ) {
    const left = children().filter((pid) => !usual.includes(pid));
    const alive = left.filter(isAlive); // one look for both: what ends meanwhile is reaped by the next
    for (const pid of left) if (!alive.includes(pid)) waitForChild(pid);
    if (isExpected(alive) || performance.now() > deadline) return alive;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly points: readonly string[];
}

async function runKilled(
  { stateRoot, directory }: RuntimeFixture,
  point: string,
  moment: string,
  args: readonly string[],
): Promise<Ended> {
  const file = join(directory, 'points.json');
  rmSync(file, { force: true });
  const command = [fixtureFile, point, moment, '--root', stateRoot, ...args];
  const child = spawn(process.execPath, command, {
    stdio: 'ignore',
    env: { ...process.env, POINTS: file },
  });
  const ended = await new Promise<Omit<Ended, 'points'>>((resolve, reject) => {
    child.on('error', reject).on('exit', (status, signal) => resolve({ status, signal }));
  });
  return { ...ended, points: existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : [] };
}

const USER_NAMESPACE = (config: Config): void => {
  config.linux.namespaces.push({ type: 'user' });
  config.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  config.linux.gidMappings = config.linux.uidMappings;
};

/** By another process than the container's own, which joins for it. */
const JOINED_PIDS = (config: Config): void => {
  const { pid } = JSON.parse(neighbour.run(['state', other]).stdout);
  for (const namespace of config.linux.namespaces) {
    if (namespace.type === 'pid') namespace.path = `/proc/${pid}/ns/pid`;
  }
};

const CREATES: readonly [string, RegExp, (config: Config) => void][] = [
  ['a usual container', /./, () => {}],
  ['one with a user namespace', /gid_map|go on|message/, USER_NAMESPACE],
  ['one in the pid namespace of another', /clone|go on|message/, JOINED_PIDS],
];

for (const [name, tried, change] of CREATES) {
  test(`create of ${name}, killed at any point`, { skip }, async (t) => {
    const pidFile = join(runtime.directory, 'init.pid');
    runtime.configure((config) => {
      config.process.args = ['sleep', '1000'];
      change(config);
    });
    const args = (id: string) => ['create', '--bundle', runtime.bundle, '--pid-file', pidFile, id];
    const whole = runtime.newId();
    const { status, points } = await runKilled(runtime, 'count', 'settled', args(whole));
    assert.equal(status, 0);
    assert.equal(runtime.run(['delete', '--force', whole]).status, 0);
    t.diagnostic(points.join(', '));
    assert.ok(points.includes('renameSync state.json.new') && points.at(-1) === 'go on');
    for (const [index, point] of points.entries()) {
      if (!tried.test(point)) continue;
      for (const moment of index === 0 ? ['early', 'settled'] : ['settled']) {
        const id = runtime.newId();
        const where = `${moment}, before ${point} (${index + 1})`;
        rmSync(pidFile, { force: true });
        const { signal } = await runKilled(runtime, String(index + 1), moment, args(id));
        assert.equal(signal, 'SIGKILL', where);
        assert.deepEqual(await survivors((pids) => pids.length === 0), [], where);
        assert.equal(runtime.run(['delete', '--force', id]).status, 0, where);
        assert.deepEqual(runtime.leftovers(id), [], where);
      }
    }
  });
}

/** Whoever wants the process gone with its exec ends it by its pid, or with the container. */
for (const name of ['tsrunc', 'runc-1.3', 'runc-1.1'] as const) {
  const original = name === 'tsrunc' ? undefined : peer(name);
  test(`${name}: exec in the foreground, killed once its process runs: that goes on`, {
    skip: skip || (original?.skip ?? false),
  }, async () => {
    using fixture = new RuntimeFixture(original === undefined ? undefined : [original.path]);
    const id = fixture.newId('foreground');
    fixture.startSleeping(id);
    const [program = '', ...prefix] = fixture.command;
    const script = 'echo > /runs; exec sleep 1000';
    const args = [...prefix, '--root', fixture.stateRoot, 'exec', id, 'sh', '-c', script];
    const child = spawn(program, args, { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.on('exit', (_, signal) => resolve(signal)));
    try {
      await until(() => existsSync(join(fixture.rootfs, 'runs')), 'the process', 30_000);
    } finally {
      child.kill('SIGKILL');
    }
    assert.equal(await ended, 'SIGKILL');
    const pids = await survivors((found) => found.length === 2); // the container's own, and that
    const listed: number[] = JSON.parse(fixture.run(['ps', '--format', 'json', id]).stdout);
    assert.deepEqual([listed.sort(), pids.length], [pids.sort(), 2]);
    // The container's init ends when that process is reaped, which is up to this one: it must not block meanwhile.
    const deletion = [...prefix, '--root', fixture.stateRoot, 'delete', '--force', id];
    const deleting = spawn(program, deletion, { stdio: ['ignore', 'ignore', 'inherit'] });
    usual.push(deleting.pid ?? 0); // is reaped by Node
    const status = new Promise((resolve) => deleting.on('exit', resolve));
    assert.deepEqual(await survivors((found) => found.length === 0), []);
    assert.equal(await status, 0);
    assert.deepEqual(fixture.leftovers(id), []);
  });
}

test('exec, killed at any point', { skip }, async (t) => {
  const pidFile = join(neighbour.directory, 'exec.pid');
  const args = ['exec', '--detach', '--pid-file', pidFile, other, 'sleep', '1000'];
  const { status, points } = await runKilled(neighbour, 'count', 'settled', args);
  assert.equal(status, 0);
  process.kill(Number(readFileSync(pidFile, 'latin1')), 'SIGKILL');
  t.diagnostic(points.join(', '));
  const commit = points.indexOf('go on');
  assert.ok(commit > 0 && commit < points.length - 1);
  for (const [index, point] of points.entries()) {
    for (const moment of index === 0 ? ['early', 'settled'] : ['settled']) {
      const where = `${moment}, before ${point} (${index + 1})`;
      rmSync(pidFile, { force: true });
      const { signal } = await runKilled(neighbour, String(index + 1), moment, args);
      assert.equal(signal, 'SIGKILL', where);
      if (index <= commit) {
        assert.deepEqual(await survivors((pids) => pids.length === 0), [], where);
      } else {
        // The process runs, and who called tsrunc finds it by its pid file.
        const pids = await survivors((found) => found.length === 1);
        assert.deepEqual(pids, [Number(readFileSync(pidFile, 'latin1'))], where);
        process.kill(pids[0] ?? 0, 'SIGKILL');
      }
    }
  }
  assert.deepEqual(await survivors((pids) => pids.length === 0), []);
  assert.equal(neighbour.run(['delete', '--force', other]).status, 0);
  assert.deepEqual(neighbour.leftovers(other), []);
});
