// Tasks outlive their daemon: it is killed and started again while they run, end, or lose their shim. And shims that die
// under a daemon take nothing with them but their own task.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { unpackAny } from '../../internal/api/any.ts';
import { TaskExit } from '../../internal/api/generated/containerd.events.ts';
import { Events } from '../../internal/api/generated/containerd.services.events.v1.ts';
import { Status } from '../../internal/api/generated/containerd.v1.types.ts';
import { skipWithout } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import { shimKinds, TaskBench } from '../fixtures/tasks.ts';

const NOT_FOUND = 5;

/** A shell that ends with `status` when it is told to by SIGTERM. */
const endsWith = (status: number) => ({
  args: ['/bin/sh', '-c', `trap 'exit ${status}' TERM; while :; do sleep 0.05; done`],
});

for (const kind of shimKinds().filter(({ name }) => !name.includes('with tsrunc'))) {
  const skip = skipWithout('tscontainerd') || kind.skip;

  test(`${kind.name}: a task runs on under the next daemon`, { skip }, async () => {
    await using bench = await TaskBench.start(kind);
    const { tasks } = bench;
    const pid = await bench.run('on', endsWith(5));
    await untilCaught(pid, 15);
    await bench.daemon.kill('SIGKILL');
    await bench.restart();
    const found = (await tasks.get({ containerId: 'on' })).process;
    assert.deepEqual([found?.pid, found?.status], [pid, Status.RUNNING]);
    const wait = tasks.wait({ containerId: 'on' });
    await tasks.kill({ containerId: 'on', signal: 15 });
    assert.equal((await wait).exitStatus, 5);
    assert.equal((await tasks.delete({ containerId: 'on' })).exitStatus, 5);
    assert.deepEqual(await bench.leftoversAfter('on'), []);
  });

  test(`${kind.name}: the exit code of a task that ended without a daemon`, { skip }, async () => {
    await using bench = await TaskBench.start(kind);
    const pid = await bench.run('gone', endsWith(6));
    await untilCaught(pid, 15);
    await bench.daemon.kill('SIGKILL');
    process.kill(pid, 'SIGTERM');
    await bench.restart();
    assert.equal((await bench.tasks.wait({ containerId: 'gone' })).exitStatus, 6);
    assert.equal((await bench.tasks.delete({ containerId: 'gone' })).exitStatus, 6);
    assert.deepEqual(await bench.leftoversAfter('gone'), []);
  });

  test(`${kind.name}: a shim that died without a daemon is cleaned up after`, {
    skip,
  }, async () => {
    await using bench = await TaskBench.start(kind);
    await bench.run('lost', { args: ['/bin/sleep', '1000'] });
    const shimPid = bench.shimPid('lost');
    await bench.daemon.kill('SIGKILL');
    process.kill(shimPid, 'SIGKILL');
    await bench.restart();
    await assert.rejects(bench.tasks.get({ containerId: 'lost' }), { code: NOT_FOUND });
    assert.deepEqual(await bench.leftoversAfter('lost'), []);
    await bench.createTask('lost'); // the id is free again
    await bench.tasks.delete({ containerId: 'lost' });
  });

  test(`${kind.name}: a shim that dies ends its task with an event`, { skip }, async () => {
    await using bench = await TaskBench.start(kind);
    await bench.run('dies', { args: ['/bin/sleep', '1000'] });
    await bench.run('stays', { args: ['/bin/sleep', '1000'] });
    using connection = new GrpcConnection(bench.daemon.address, bench.namespace);
    const controller = new AbortController();
    const events = connection
      .service(Events)
      .subscribe({ filters: ['topic==/tasks/exit'] }, { signal: controller.signal });
    const exit = (async () => {
      for await (const { event } of events) return unpackAny(event, TaskExit);
      return undefined;
    })();
    const wait = bench.tasks.wait({ containerId: 'dies' });
    await bench.tasks.get({ containerId: 'dies' }); // by now the daemon has both calls
    process.kill(bench.shimPid('dies'), 'SIGKILL');
    assert.equal((await wait).exitStatus, 137);
    const event = await exit;
    assert.deepEqual([event?.containerId, event?.exitStatus], ['dies', 137]);
    controller.abort();
    assert.deepEqual(await bench.leftoversAfter('dies'), []);
    const other = (await bench.tasks.get({ containerId: 'stays' })).process;
    assert.equal(other?.status, Status.RUNNING);
  });

  // containerd issue 13784: it asked the shim for the pids of the cgroup, which a container with a writable cgroup can
  // empty, took the shim for leaked, and a second copy of the container was started beside the first.
  test(`${kind.name}: a task that has left its cgroup is no leak`, { skip }, async () => {
    await using bench = await TaskBench.start(kind);
    const pid = await bench.run('away', { args: ['/bin/sleep', '1000'] });
    for (const line of readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n')) {
      const [, controllers = '', path = ''] = line.split(':');
      if (!path.endsWith('-away')) continue;
      const hierarchy = controllers.replace('name=', '') || (isUnified() ? '' : 'unified');
      writeFileSync(`/sys/fs/cgroup/${hierarchy}/cgroup.procs`, `${pid}`);
    }
    await bench.daemon.kill('SIGKILL');
    await bench.restart();
    const found = (await bench.tasks.get({ containerId: 'away' })).process;
    assert.deepEqual([found?.pid, found?.status], [pid, Status.RUNNING]);
    await assert.rejects(bench.createTask('away'), { details: 'task away: already exists' });
    await bench.tasks.kill({ containerId: 'away', signal: 9 });
    assert.equal((await bench.tasks.wait({ containerId: 'away' })).exitStatus, 137);
    await bench.tasks.delete({ containerId: 'away' });
  });

  test(`${kind.name}: a shim that is stopped at a restart keeps its task`, { skip }, async () => {
    await using bench = await TaskBench.start(kind);
    const pid = await bench.run('slow', { args: ['/bin/sleep', '1000'] });
    const shimPid = bench.shimPid('slow');
    await bench.daemon.kill('SIGKILL');
    process.kill(shimPid, 'SIGSTOP');
    try {
      await bench.restart();
      const listed = await bench.tasks.list({});
      assert.ok(listed.tasks.every(({ status }) => status === Status.UNKNOWN));
    } finally {
      process.kill(shimPid, 'SIGCONT');
    }
    const found = (await bench.tasks.get({ containerId: 'slow' })).process;
    assert.deepEqual([found?.pid, found?.status], [pid, Status.RUNNING]);
  });
}

const ours = shimKinds().find(({ runtime }) => runtime === 'io.containerd.tsrunc.v2');
assert.ok(ours !== undefined);

// containerd/containerd 5699: a start that took minutes, one dead shim after the other.
test('all shims are asked at once: one that does not answer holds up none of the others', {
  skip: skipWithout('tscontainerd') || ours.skip,
}, async () => {
  await using bench = await TaskBench.start(ours);
  const ids = (name: string): string[] => [1, 2, 3, 4].map((number) => `${name}-${number}`);
  const shims = new Map<string, number>();
  for (const id of [...ids('stopped'), ...ids('dead'), 'live']) {
    await bench.run(id, { args: ['/bin/sleep', '1000'] });
    shims.set(id, bench.shimPid(id));
  }
  const signal = (name: string, what: NodeJS.Signals) => {
    for (const id of ids(name)) process.kill(shims.get(id) ?? 0, what);
  };
  await bench.daemon.kill('SIGKILL');
  signal('dead', 'SIGKILL');
  const before = waitingConnections(bench, ids('stopped'));
  signal('stopped', 'SIGSTOP');
  const starting = bench.restart();
  try {
    // None of them answers before all are asked.
    const asked = () => waitingConnections(bench, ids('stopped')) - before;
    while (asked() < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  } finally {
    signal('stopped', 'SIGCONT');
  }
  await starting;
  const found = async () => (await bench.tasks.list({})).tasks.map(({ id }) => id).sort();
  assert.deepEqual(await found(), ['live', ...ids('stopped')]);
  assert.doesNotMatch(bench.daemon.log, /shim does not answer/);
  for (const id of ids('dead')) assert.deepEqual(await bench.leftoversAfter(id), []);
});

/** Connections at the sockets of tasks' shims (proc_net(5)). */
function waitingConnections(bench: TaskBench, ids: readonly string[]): number {
  const sockets = ids.map((id) => bench.socket(id));
  const lines = readFileSync('/proc/net/unix', 'latin1').split('\n');
  return lines.filter((line) => sockets.some((path) => line.endsWith(` ${path}`))).length;
}

/** Waits until a process has a handler for a signal: before that, the first of a container ignores it. */
async function untilCaught(pid: number, signal: number): Promise<void> {
  for (let caught = 0n; (caught >> BigInt(signal - 1)) % 2n === 0n; ) {
    const [, mask] =
      /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
    caught = BigInt(`0x${mask}`);
    await new Promise((resolve) => setTimeout(resolve, 5)); // the shell of the container tells nobody
  }
}

/** Whether the machine has nothing but cgroup v2. */
function isUnified(): boolean {
  return existsSync('/sys/fs/cgroup/cgroup.controllers');
}
