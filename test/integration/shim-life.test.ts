// The life of tasks in our shim, with each runtime: order of events, exits, kills, execs, errors.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { unpackAny } from '../../internal/api/any.ts';
import { TaskDelete, TaskExit, TaskOOM } from '../../internal/api/generated/containerd.events.ts';
import { ProcessDetails } from '../../internal/api/generated/containerd.runc.v1.ts';
import { Status } from '../../internal/api/generated/containerd.v1.types.ts';
import { Metrics } from '../../internal/api/generated/io.containerd.cgroups.v1.ts';
import { Metrics as MetricsV2 } from '../../internal/api/generated/io.containerd.cgroups.v2.ts';
import { timestampToNs } from '../../internal/api/time.ts';
import { Code } from '../../ttrpc/index.ts';
import {
  bundleSpec,
  isAlive,
  PlayedDaemon,
  type RuntimeName,
  runtimeProgram,
  runtimes,
  skipWithout,
  until,
} from '../fixtures/shim.ts';

function skipWithCriu(): false | string {
  return existsSync('/usr/sbin/criu') ? 'CRIU is installed: the checkpoint would be made' : false;
}

const SIGTERM = 15;
const SIGKILL = 9;
/** Between the death of a process and the answer to its start: far more than a clock may be read too late. */
const SEPARATION_MS = 1_000;
const EXECS = 5;

for (const runtime of runtimes) {
  const skip = skipWithout(runtime);

  test(`a task of ${runtime} is created, started, waited for and deleted`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sh', '-c', 'exit 7'], { runtime });
    const before = BigInt(Date.now()) * 1_000_000n;
    const pid = await shim.create();
    const created = await shim.task.state({ id: 'c1' });
    assert.deepEqual(
      [created.status, created.pid, created.bundle],
      [Status.CREATED, pid, shim.bundle],
    );
    const waiters = Array.from({ length: 20 }, () => shim.task.wait({ id: 'c1' }));
    assert.equal(await shim.start(), pid);
    for (const waiter of waiters) assert.equal((await waiter).exitStatus, 7);
    const stopped = await shim.task.state({ id: 'c1' });
    assert.deepEqual([stopped.status, stopped.exitStatus], [Status.STOPPED, 7]);
    const exitedNs = timestampToNs(stopped.exitedAt ?? { seconds: 0n, nanos: 0 });
    assert.ok(exitedNs > before && exitedNs < BigInt(Date.now() + 1) * 1_000_000n);
    const deleted = await shim.task.delete({ id: 'c1' });
    assert.deepEqual(
      [deleted.pid, deleted.exitStatus, deleted.exitedAt],
      [pid, 7, stopped.exitedAt],
    );
    await shim.task.shutdown({ id: 'c1' });
    await until(() => !isAlive(shim.pid), 'the shim to leave');
    assert.deepEqual(daemon.topics, [
      '/tasks/create',
      '/tasks/start',
      '/tasks/exit',
      '/tasks/delete',
    ]);
    const [exit] = daemon.decoded('/tasks/exit', TaskExit);
    assert.deepEqual(
      [exit?.containerId, exit?.id, exit?.pid, exit?.exitStatus],
      ['c1', 'c1', pid, 7],
    );
    assert.equal(daemon.decoded('/tasks/delete', TaskDelete)[0]?.exitStatus, 7);
    assert.equal(existsSync(shim.socketPath), false);
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(shim.bundle), false);
  });

  test(`an exit that ${runtime} outlives is not lost`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/true'], { runtime });
    await shim.create();
    await shim.start();
    assert.equal(await shim.wait(), 0);
    for (let index = 0; index < 5; index++) {
      // The container is over: an exec has to fail with words, and nothing may wait for ever.
      await assert.rejects(shim.addExec(`e${index}`, ['/bin/true']), {
        code: Code.UNKNOWN,
        message: 'cannot exec in a stopped state',
      });
    }
    await shim.finish();
  });

  test(`an exec of ${runtime} that ends at once is told of after its start`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime });
    await shim.create();
    await shim.start();
    const exec = ['/tasks/exec-added', '/tasks/exec-started', '/tasks/exit'];
    for (let code = 1; code <= EXECS; code++) {
      const id = `e${code}`;
      await shim.exec(id, ['/bin/sh', '-c', `exit ${code}`]);
      assert.equal(await shim.wait(id), code);
      await shim.task.delete({ id: 'c1', execId: id });
    }
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    assert.equal(await shim.wait(), 128 + SIGKILL);
    await shim.finish();
    assert.deepEqual(daemon.topics, [
      ...['/tasks/create', '/tasks/start'],
      ...Array.from({ length: EXECS }, () => exec).flat(),
      ...['/tasks/exit', '/tasks/delete'],
    ]);
  });

  test(`processes are executed beside the first one of ${runtime}`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime });
    await shim.create();
    await shim.start();
    await shim.exec('e1', ['/bin/sh', '-c', 'exit 9']);
    assert.equal(await shim.wait('e1'), 9);
    const deleted = await shim.task.delete({ id: 'c1', execId: 'e1' });
    assert.equal(deleted.exitStatus, 9);
    await shim.exec('e1', ['/bin/sleep', '1000']);
    const { processes } = await shim.task.pids({ id: 'c1' });
    const ids = processes.map(({ info }) => unpackAny(info, ProcessDetails)?.execId);
    assert.deepEqual(ids.sort(), ['e1', undefined]);
    await shim.task.kill({ id: 'c1', execId: 'e1', signal: SIGTERM });
    assert.equal(await shim.wait('e1'), 128 + SIGTERM);
    await assert.rejects(shim.task.kill({ id: 'c1', execId: 'e1', signal: SIGTERM }), {
      code: Code.NOT_FOUND,
      message: 'process already finished: not found',
    });
    await shim.task.delete({ id: 'c1', execId: 'e1' });
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    assert.equal(await shim.wait(), 128 + SIGKILL);
    await shim.finish();
    const { topics } = daemon;
    assert.ok(topics.indexOf('/tasks/exec-added') < topics.indexOf('/tasks/exec-started'));
    assert.ok(topics.indexOf('/tasks/exec-started') < topics.indexOf('/tasks/exit'));
  });

  test(`fifty processes of ${runtime} that die at once are all told of`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime });
    await shim.create();
    await shim.start();
    const ids = Array.from({ length: 50 }, (_, index) => `e${index}`);
    for (const id of ids) await shim.exec(id, ['/bin/sleep', '1000']);
    const waits = ids.map((id) => shim.wait(id));
    const init = shim.wait();
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    assert.deepEqual(
      await Promise.all(waits),
      ids.map(() => 128 + SIGKILL),
    );
    assert.equal(await init, 128 + SIGKILL);
    await shim.finish();
    const exits = daemon.decoded('/tasks/exit', TaskExit).map(({ id }) => id);
    assert.equal(exits.length, 51);
    assert.equal(exits.at(-1), 'c1', 'the container ends after what was executed in it');
  });

  test(`two hundred processes of ${runtime} end at once, each with its own code`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const script = 'mkfifo /tmp/gate; exec sleep 1000';
    const shim = await daemon.shim(['/bin/sh', '-c', script], { runtime });
    await shim.create();
    await shim.start();
    await shim.exec('ready', ['/bin/sh', '-c', 'until [ -p /tmp/gate ]; do sleep 0.05; done']);
    assert.equal(await shim.wait('ready'), 0);
    const codes = Array.from({ length: 200 }, (_, index) => index);
    const waits: Promise<number>[] = [];
    for (const code of codes) {
      await shim.exec(`e${code}`, ['/bin/sh', '-c', `read x </tmp/gate; exit ${code}`]);
      waits.push(shim.wait(`e${code}`));
    }
    // Who opens the writing end lets all of them go on, to the end of the file.
    await shim.exec('open', ['/bin/sh', '-c', ': >/tmp/gate']);
    assert.deepEqual(await Promise.all(waits), codes);
    const told = () => daemon.decoded('/tasks/exit', TaskExit).filter(({ id }) => /^e\d/.test(id));
    await until(() => told().length >= codes.length, 'the last event');
    const exits = told();
    assert.equal(new Set(exits.map(({ pid }) => pid)).size, 200, 'each was told of once');
    assert.deepEqual(
      exits.map(({ id, exitStatus }) => id === `e${exitStatus}`),
      codes.map(() => true),
    );
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    assert.equal(await shim.wait(), 128 + SIGKILL);
    await shim.finish();
  });

  test(`a task of ${runtime} is paused, resumed, updated and measured`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime });
    await shim.create();
    await shim.start();
    await shim.task.pause({ id: 'c1' });
    assert.equal((await shim.task.state({ id: 'c1' })).status, Status.PAUSED);
    await assert.rejects(shim.task.pause({ id: 'c1' }), { code: Code.UNKNOWN });
    await assert.rejects(shim.addExec('e1', ['/bin/true']), { code: Code.UNKNOWN });
    await shim.task.resume({ id: 'c1' });
    assert.equal((await shim.task.state({ id: 'c1' })).status, Status.RUNNING);
    const resources = {
      typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources',
    };
    const value = Buffer.from(JSON.stringify({ pids: { limit: 77 } }));
    await shim.task.update({ id: 'c1', resources: { ...resources, value } });
    const { stats } = await shim.task.stats({ id: 'c1' });
    const metrics = unpackAny(stats, Metrics) ?? unpackAny(stats, MetricsV2);
    assert.equal(metrics?.pids?.limit, 77n);
    assert.equal(metrics.pids.current, 1n);
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    await shim.wait();
    await shim.finish();
    assert.deepEqual(daemon.topics.slice(2, 4), ['/tasks/paused', '/tasks/resumed']);
  });

  test(`a created task of ${runtime} is deleted without having run`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime });
    const pid = await shim.create();
    await shim.finish();
    assert.equal(isAlive(pid), false);
    assert.deepEqual(daemon.topics, ['/tasks/create', '/tasks/exit', '/tasks/delete']);
  });

  test(`${runtime} fails to create: its words arrive and nothing stays`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/no-such-program'], { runtime });
    const failing = async (): Promise<void> => {
      await shim.create();
      await shim.start();
    };
    await assert.rejects(failing(), (error: Error) => {
      assert.match(error.message, /^OCI runtime (create|start) failed: .*no-such-program/);
      return true;
    });
    await shim.task.delete({ id: 'c1' }).catch(() => {}); // crun finds out at start
    await shim.task.shutdown({ id: 'c1' });
    await until(() => !isAlive(shim.pid), 'the shim to leave');
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(shim.bundle), false);
  });

  test(`a container of ${runtime} killed for want of memory says so before it ends`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const spec = bundleSpec('c1', ['/bin/sh', '-c', 'x=a; while true; do x=$x$x; done']) as {
      linux: object;
    };
    const linux = { ...spec.linux, resources: { memory: { limit: 16 << 20, swap: 16 << 20 } } };
    const args = ['/bin/sh', '-c', 'x=a; while true; do x=$x$x; done'];
    const shim = await daemon.shim(args, { runtime }, { linux });
    await shim.create();
    await shim.start();
    assert.equal(await shim.wait(), 128 + SIGKILL);
    await shim.finish();
    const { topics } = daemon;
    assert.deepEqual(daemon.decoded('/tasks/oom', TaskOOM)[0]?.containerId, 'c1');
    assert.ok(topics.indexOf('/tasks/oom') < topics.indexOf('/tasks/exit'));
  });
}

for (const runtime of ['runc-1.3', 'in-process'] as const) {
  test(`${runtime}: errors carry the codes that daemons decide by`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    const { task } = shim;
    const none = { code: Code.NOT_FOUND, message: 'container not created: not found' };
    await assert.rejects(task.state({ id: 'c1' }), none);
    await assert.rejects(task.start({ id: 'c1' }), none);
    await assert.rejects(task.kill({ id: 'c1', signal: SIGKILL }), none);
    await shim.create();
    await assert.rejects(shim.create(), {
      code: Code.ALREADY_EXISTS,
      message: 'task c1: already exists',
    });
    await assert.rejects(task.start({ id: 'c1', execId: 'x' }), {
      code: Code.NOT_FOUND,
      message: 'process does not exist x: not found',
    });
    await assert.rejects(task.pause({ id: 'c1' }), {
      code: Code.UNKNOWN,
      message: 'cannot pause task in created state',
    });
    await shim.start();
    await assert.rejects(task.delete({ id: 'c1' }), {
      code: Code.UNKNOWN,
      message: 'cannot delete a running process',
    });
    await shim.addExec('x', ['/bin/true']);
    await assert.rejects(shim.addExec('x', ['/bin/true']), {
      code: Code.ALREADY_EXISTS,
      message: 'id x: already exists',
    });
    await assert.rejects(task.kill({ id: 'c1', execId: 'x', signal: SIGKILL }), {
      code: Code.FAILED_PRECONDITION,
      message: 'process not created: failed precondition',
    });
    await task.delete({ id: 'c1', execId: 'x' });
    for (const id of ['../x', '-x', '', 'a/b', '.']) {
      await assert.rejects(task.create({ id, bundle: shim.bundle }), {
        code: Code.INVALID_ARGUMENT,
      });
    }
    await task.kill({ id: 'c1', signal: SIGKILL });
    await shim.wait();
    await assert.rejects(task.kill({ id: 'c1', signal: SIGKILL }), {
      code: Code.NOT_FOUND,
      message: 'process already finished: not found',
    });
    await shim.finish();
  });

  test(`${runtime}: a checkpoint that the runtime cannot make is refused in its words`, {
    skip: skipWithout(runtime) || skipWithCriu(),
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    const path = join(daemon.directory, 'images');
    await assert.rejects(shim.task.checkpoint({ id: 'c1', path }), {
      code: Code.UNKNOWN,
      message: 'cannot checkpoint a task in created state',
    });
    await shim.start();
    await assert.rejects(
      shim.task.checkpoint({ id: 'c1', path }),
      /OCI runtime checkpoint failed: ./,
    );
    assert.equal((await shim.task.state({ id: 'c1' })).status, Status.RUNNING);
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    await shim.wait();
    await shim.finish();
  });

  test(`${runtime}: a shim stays while it has a task, whatever it is sent`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    await shim.start();
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGPIPE'] as const) {
      process.kill(shim.pid, signal);
    }
    await shim.task.shutdown({ id: 'c1', now: true });
    assert.equal((await shim.task.state({ id: 'c1' })).status, Status.RUNNING);
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    await shim.wait();
    await shim.finish();
  });

  test(`${runtime}: a shim that was killed is cleaned up by delete`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    const pid = await shim.create();
    await shim.start();
    process.kill(shim.pid, 'SIGKILL');
    await until(() => !isAlive(shim.pid), 'the shim to die');
    const result = daemon.command(['-bundle', shim.bundle, 'delete']);
    assert.equal(result.status, 0, result.stderr.toString());
    const { DeleteResponse } = await import('../../internal/api/generated/containerd.task.v3.ts');
    const response = DeleteResponse.decode(result.stdout);
    assert.deepEqual([response.pid, response.exitStatus], [pid, 137]);
    assert.equal(isAlive(pid), false);
    assert.equal(existsSync(join(daemon.directory, 'runtime/default/c1')), false);
    assert.equal(existsSync(shim.socketPath), false);
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(shim.bundle), false);
  });
}

test('a runtime that is killed in the middle of create leaves nothing', {
  skip: skipWithout('runc-1.3'),
}, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/sleep', '1000']);
  // A hook holds the creation up until the runtime is dead.
  const hooks = {
    createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', 'kill -9 $PPID; sleep 1'] }],
  };
  const config = JSON.parse(readFileSync(join(shim.bundle, 'config.json'), 'utf8')) as object;
  writeFileSync(join(shim.bundle, 'config.json'), JSON.stringify({ ...config, hooks }));
  await assert.rejects(shim.create(), { message: 'OCI runtime create failed: killed by SIGKILL' });
  assert.equal(existsSync(join(daemon.directory, 'runtime/default/c1')), false);
  assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(shim.bundle), false);
  await shim.task.shutdown({ id: 'c1' });
  await until(() => !isAlive(shim.pid), 'the shim to leave');
});

/** What keeps the answer to a start back until `gate` is there: a hook, or the program itself where hooks are run by `create`. */
function heldStart(daemon: PlayedDaemon, runtime: RuntimeName, gate: string) {
  const wait = `until test -e ${gate}; do sleep 0.05; done`;
  if (runtime === 'tsrunc' || runtime === 'in-process') {
    const poststart = [{ path: '/bin/sh', args: ['sh', '-c', wait], timeout: 60 }];
    return { spec: { hooks: { poststart } }, binary: undefined };
  }
  const binary = join(daemon.directory, 'held');
  const call = `${runtimeProgram(runtime)} "$@" || exit`;
  const text = `#!/bin/sh\n${call}\ncase " $* " in *" start "*) ${wait};; esac\n`;
  writeFileSync(binary, text, { mode: 0o755 });
  return { spec: {}, binary };
}

for (const runtime of runtimes) {
  test(`a process that ${runtime} has not yet told of may die: its exit is told after its start, with its own time`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const gate = join(daemon.directory, 'gate');
    const { spec, binary } = heldStart(daemon, runtime, gate);
    const shim = await daemon.shim(['/bin/sh', '-c', 'exit 7'], { runtime }, spec);
    shim.binary = binary;
    const pid = await shim.create();
    const waiting = shim.wait();
    const beforeNs = BigInt(Date.now()) * 1_000_000n;
    let isAnswered = false;
    const starting = shim.start().then(() => {
      isAnswered = true;
    });
    await until(() => !existsSync(`/proc/${pid}`), 'the process to be dead and reaped');
    await until(() => daemon.topics.length > 0, 'the event of the create');
    await delay(SEPARATION_MS);
    const gateNs = BigInt(Date.now()) * 1_000_000n;
    assert.equal(isAnswered, false);
    assert.deepEqual(daemon.topics, ['/tasks/create'], 'no exit without a start');
    writeFileSync(gate, '');
    await starting;
    assert.equal(await waiting, 7);
    const { status, exitStatus, exitedAt } = await shim.task.state({ id: 'c1' });
    assert.deepEqual([status, exitStatus], [Status.STOPPED, 7]);
    const exitedNs = timestampToNs(exitedAt ?? { seconds: 0n, nanos: 0 });
    assert.ok(exitedNs >= beforeNs && exitedNs < gateNs, `${beforeNs} ${exitedNs} ${gateNs}`);
    await shim.finish();
    const life = ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete'];
    assert.deepEqual(daemon.topics, life);
    assert.deepEqual(daemon.decoded('/tasks/exit', TaskExit)[0]?.exitedAt, exitedAt);
  });
}
