// An agent for SCMP_ACT_NOTIFY under our shim, with tsrunc as a program and inside: it gets each process's listener, and one
// that is busy holds up only the process that it is to be told of.
import assert from 'node:assert/strict';
import { fstatSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  acceptUnix,
  connectUnixNow,
  listenUnix,
  type OwnedFd,
  receiveFds,
  waitReadable,
} from '../../internal/linux/index.ts';
import { Code } from '../../ttrpc/index.ts';
import { traces } from '../demo/workspace.ts';
import {
  bundleSpec,
  isAlive,
  PlayedDaemon,
  type Shim,
  sharedRootfs,
  skipWithout,
  until,
} from '../fixtures/shim.ts';

const SIGKILL = 9;
const MESSAGE_BYTES = 65_536;
const PATIENCE_MS = 30_000;
const POD = { 'io.kubernetes.cri.sandbox-id': 'pod' };

/** A container whose calls of mkdir an agent is told of, in a cgroup with the name of the daemon's directory. */
function specWithAgent(daemon: PlayedDaemon, id: string, listenerPath: string): object {
  const { linux } = bundleSpec(id, []) as { linux: object };
  const syscalls = [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_NOTIFY' }];
  const seccomp = { defaultAction: 'SCMP_ACT_ALLOW', listenerPath, syscalls };
  const cgroupsPath = `/${daemon.directory.split('/').at(-1)}/${id}`;
  return { linux: { ...linux, seccomp, cgroupsPath } };
}

/** What an agent is told of one process; the listener is closed again. */
async function accept(socket: OwnedFd): Promise<{ pid: number; state: { id: string } }> {
  await waitReadable(socket.number, AbortSignal.timeout(PATIENCE_MS));
  using connection = acceptUnix(socket);
  await waitReadable(connection.number, AbortSignal.timeout(PATIENCE_MS));
  const { data, fds } = receiveFds(connection.number, MESSAGE_BYTES);
  assert.equal(fds.length, 1);
  for (const fd of fds) {
    assert.equal(fstatSync(fd.number).isFile(), false, 'no file, but a listener');
    fd.close();
  }
  return JSON.parse(data.toString()) as { pid: number; state: { id: string } };
}

/** Takes all the room that a listener has for connections which nobody has accepted. */
function fill(path: string): OwnedFd[] {
  const connections: OwnedFd[] = [];
  for (;;) {
    const connection = connectUnixNow(path);
    if (connection === undefined) return connections;
    connections.push(connection);
  }
}

async function end(shim: Shim): Promise<void> {
  await shim.task.kill({ id: shim.id, signal: SIGKILL });
  assert.equal(await shim.wait(), 128 + SIGKILL);
  await shim.task.delete({ id: shim.id });
}

async function leave(shim: Shim): Promise<void> {
  await shim.task.shutdown({ id: shim.id });
  await until(() => !isAlive(shim.pid), 'the shim to leave');
}

for (const runtime of ['tsrunc', 'in-process'] as const) {
  test(`${runtime}: an agent is told of the container's process and of each exec`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const path = join(daemon.directory, 'agent');
    using agent = listenUnix(path);
    const args = ['/bin/sleep', '1000'];
    const shim = await daemon.shim(args, { runtime }, specWithAgent(daemon, 'c1', path));
    // Inside of the shim nothing of it is left to the program, which is not there.
    if (runtime === 'in-process') shim.binary = join(daemon.directory, 'tsrunc');
    const creating = shim.create();
    const told = await accept(agent);
    assert.deepEqual([told.pid, told.state.id], [await creating, 'c1']);
    await shim.start();
    await shim.addExec('e1', ['/bin/sleep', '1000']);
    const starting = shim.start('e1');
    const second = await accept(agent);
    assert.equal(second.pid, await starting);
    await shim.task.kill({ id: 'c1', execId: 'e1', signal: SIGKILL });
    assert.equal(await shim.wait('e1'), 128 + SIGKILL);
    await shim.task.delete({ id: 'c1', execId: 'e1' });
    await end(shim);
    await leave(shim);
  });

  test(`${runtime}: nobody listens for an agent: the create fails and says so`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const path = join(daemon.directory, 'agent');
    const shim = await daemon.shim(['/bin/true'], { runtime }, specWithAgent(daemon, 'c1', path));
    await assert.rejects(shim.create(), {
      code: Code.UNKNOWN,
      message:
        `OCI runtime create failed: config.json: linux.seccomp.listenerPath: connect to ${path}: ENOENT (no such file or directory): ` +
        'start the agent that listens there before the container',
    });
    await leave(shim);
  });

  test(`${runtime}: an agent that accepts nobody holds up only its own container, until the deadline`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const path = join(daemon.directory, 'agent');
    using agent = listenUnix(path, 1);
    const waiting = fill(path);
    const sleep = ['/bin/sleep', '1000'];
    const first = await daemon.shim(sleep, { runtime, annotations: POD });
    await first.create();
    await first.start();
    const more = { id: 'c2', runtime, annotations: POD };
    const second = await daemon.shim(sleep, more, specWithAgent(daemon, 'c2', path));
    assert.equal(second.pid, first.pid, 'one shim for both');
    const creating = second.create();
    for (const code of [1, 2, 3]) {
      await first.exec(`e${code}`, ['/bin/sh', '-c', `exit ${code}`]);
      assert.equal(await first.wait(`e${code}`), code);
    }
    for (const connection of waiting) {
      connection.close();
      acceptUnix(agent).close();
    }
    assert.equal((await accept(agent)).pid, await creating);
    await second.start();
    await end(second);

    const again = fill(path);
    const { id, bundle, options } = second;
    const rootfs = [{ type: 'bind', source: sharedRootfs(), options: ['rbind', 'ro'] }];
    const request = { id, bundle, options, rootfs };
    await assert.rejects(second.task.create(request, { timeoutMs: 2_000 }), {
      code: Code.DEADLINE_EXCEEDED,
    });
    for (const connection of again) connection.close();
    const isGone = () => {
      const { mounts, cgroups } = traces(daemon.directory);
      return (
        mounts.every((mount) => !mount.includes('/c2/')) && !cgroups.some((p) => p.endsWith('/c2'))
      );
    };
    await until(isGone, 'what was made of the container to be taken away');
    await end(first);
    await leave(first);
  });
}
