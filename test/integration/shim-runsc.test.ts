// The shim over gVisor's runtime, which is no relative of runc: a container is a kernel in user space, its processes are
// none of the host's, and an exec is a program that waits for one of them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Status } from '../../internal/api/generated/containerd.v1.types.ts';
import { Code } from '../../ttrpc/index.ts';
import { traces } from '../demo/workspace.ts';
import { FifoReader, makeFifo } from '../fixtures/fifo.ts';
import { bundleSpec, PlayedDaemon, type Shim, skipWithout, until } from '../fixtures/shim.ts';
import { peer } from '../peers/index.ts';

const SIGKILL = 9;
const runsc = peer('runsc');
const skip = skipWithout('tsrunc') || runsc.skip;

/**
 * The runtime as it can run here. Debian's release tells a new network namespace from the host's by a file that kernels of
 * today have in both; and it makes `nobody` the owner of its stdio, also of the host's /dev/null: it gets another one.
 */
function adaptedRunsc(daemon: PlayedDaemon): string {
  const program = join(daemon.directory, 'runsc');
  const nullDevice = join(daemon.directory, 'null');
  assert.equal(spawnSync('mknod', ['-m', '666', nullDevice, 'c', '1', '3']).status, 0);
  const lines = ['<', '>', '2>'].map((redirect, fd) => {
    return `[ /proc/self/fd/${fd} -ef /dev/null ] && exec ${redirect}${nullDevice}`;
  });
  const script = ['#!/bin/sh', ...lines, `exec ${runsc.path} --network=none "$@"`, ''];
  writeFileSync(program, script.join('\n'));
  chmodSync(program, 0o755);
  return program;
}

async function makeShim(daemon: PlayedDaemon, script: string): Promise<Shim> {
  const args = ['/bin/sh', '-c', script];
  const { linux } = bundleSpec('c1', args) as { linux: { namespaces: object[] } };
  const namespaces = [...linux.namespaces, { type: 'network' }];
  const cgroupsPath = `/${daemon.directory.split('/').at(-1)}/c1`;
  const spec = { linux: { ...linux, namespaces, cgroupsPath } };
  const shim = await daemon.shim(args, { runtime: 'tsrunc' }, spec);
  shim.binary = adaptedRunsc(daemon);
  return shim;
}

function expectNothingLeft(daemon: PlayedDaemon): Promise<void> {
  const isGone = () => {
    const { processes, mounts, cgroups } = traces(daemon.directory);
    return processes.length + mounts.length === 0 && !cgroups.some((path) => path.endsWith('/c1'));
  };
  return until(isGone, 'nothing to be left');
}

test('a task of runsc with execs: output, exit statuses, order of events', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await makeShim(daemon, 'uname -s; read line; echo got $line; exit 7');
  const stdin = makeFifo(daemon.directory, 'in');
  const output = new FifoReader(makeFifo(daemon.directory, 'out'));
  const pid = await shim.create({ stdin, stdout: output.path });
  assert.equal(await shim.start(), pid);
  await until(() => output.text.includes('\n'), 'the first line');
  await shim.exec('e1', ['/bin/sh', '-c', 'exit 9']);
  assert.equal(await shim.wait('e1'), 9);
  await shim.task.delete({ id: 'c1', execId: 'e1' });
  await shim.exec('e2', ['/bin/sleep', '1000']);
  await shim.task.kill({ id: 'c1', execId: 'e2', signal: SIGKILL });
  assert.equal(await shim.wait('e2'), 128 + SIGKILL);
  await shim.task.delete({ id: 'c1', execId: 'e2' });
  assert.equal((await shim.task.state({ id: 'c1' })).status, Status.RUNNING);
  writeFileSync(stdin, 'this\n');
  assert.equal(await shim.wait(), 7);
  await output.ended;
  assert.equal(output.text, 'Linux\ngot this\n');
  output.close();
  await shim.finish();
  const exec = ['/tasks/exec-added', '/tasks/exec-started', '/tasks/exit'];
  const life = ['/tasks/create', '/tasks/start', ...exec, ...exec, '/tasks/exit', '/tasks/delete'];
  await until(() => daemon.topics.length >= life.length, 'the last events');
  assert.deepEqual(daemon.topics, life);
  await expectNothingLeft(daemon);
});

test('a task of runsc is killed; a program that is not there is an error', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await makeShim(daemon, 'exec sleep 1000');
  await shim.create();
  await shim.start();
  await shim.addExec('e1', ['/bin/no-such-program']);
  await assert.rejects(shim.start('e1'), (error: { code: number; message: string }) => {
    assert.equal(error.code, Code.UNKNOWN);
    assert.match(error.message, /^OCI runtime exec failed: .*no such file or directory/s);
    return true;
  });
  await shim.task.kill({ id: 'c1', signal: SIGKILL });
  assert.equal(await shim.wait(), 128 + SIGKILL);
  await shim.finish();
  await expectNothingLeft(daemon);
});

test("no runsc has made the host's /dev/null another user's", { skip }, () => {
  const { uid, gid } = statSync('/dev/null');
  assert.deepEqual({ uid, gid }, { uid: 0, gid: 0 });
});
