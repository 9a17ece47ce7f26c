// The tasks service of our daemon over each shim: Debian's, with runc and with our runtime, and ours. What a client sees
// must be the same.
import assert from 'node:assert/strict';
import { closeSync, constants, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { unpackAny } from '../../internal/api/any.ts';
import { Status } from '../../internal/api/generated/containerd.v1.types.ts';
import { Metrics as MetricsV1 } from '../../internal/api/generated/io.containerd.cgroups.v1.ts';
import { Metrics as MetricsV2 } from '../../internal/api/generated/io.containerd.cgroups.v2.ts';
import { makeFifo } from '../../internal/linux/index.ts';
import { type DaemonKind, skipWithout } from '../fixtures/daemon.ts';
import { type ShimKind, shimKinds, TaskBench, unmountedHierarchies } from '../fixtures/tasks.ts';
import { peer } from '../peers/index.ts';

const NOT_FOUND = 5;
const ALREADY_EXISTS = 6;

/** Our daemon with each shim; and the original with its own, so that both are held to the same. */
const PAIRS: [daemon: DaemonKind, kind: ShimKind][] = shimKinds().flatMap((kind, index) => [
  ['tscontainerd', kind] as [DaemonKind, ShimKind],
  ...(index === 0 ? [['containerd-2.1', kind] as [DaemonKind, ShimKind]] : []),
]);

for (const [daemon, kind] of PAIRS) {
  const skip = skipWithout(daemon) || kind.skip;
  const name = daemon === 'tscontainerd' ? kind.name : `${daemon}, ${kind.name}`;

  test(`${name}: from create to delete`, { skip }, async (t) => {
    await using bench = await TaskBench.start(kind, undefined, daemon);
    const { tasks } = bench;
    const containerId = 'life';
    const hidden = unmountedHierarchies();
    const output = fifo(bench, 'out');
    await bench.makeContainer(containerId, {
      args: ['/bin/sh', '-c', 'echo started; exec sleep 1000'],
    });
    await assert.rejects(tasks.get({ containerId }), {
      code: NOT_FOUND,
      details: /^task life not found(: not found)?$/, // ours always ends in the class of the error
    });
    const pid = await bench.createTask(containerId, {
      stdout: output.path,
      stderr: output.path,
    });
    await rejects(
      bench.createTask(containerId),
      ALREADY_EXISTS,
      `task ${containerId}: already exists`,
    );
    const created = (await tasks.get({ containerId })).process;
    assert.equal(created?.status, Status.CREATED);
    assert.equal(created?.pid, pid);
    assert.equal(created?.id, containerId);
    assert.equal(created?.stdout, output.path);
    assert.equal(created?.terminal, false);

    const wait = tasks.wait({ containerId });
    assert.equal((await tasks.start({ containerId })).pid, pid);
    assert.equal(output.readLine(), 'started\n');
    assert.deepEqual(
      (await tasks.list({})).tasks.map(({ id, status }) => [id, status]),
      [[containerId, Status.RUNNING]],
    );
    assert.deepEqual(
      (await tasks.listPids({ containerId })).processes.map((process) => process.pid),
      [pid],
    );
    // The shim of runc has no code of its own for this; ours says FAILED_PRECONDITION.
    await assert.rejects(tasks.delete({ containerId }), /running/);
    assert.equal((await tasks.get({ containerId })).process?.status, Status.RUNNING);

    const [metric] = (await tasks.metrics({ filters: [`id==${containerId}`] })).metrics;
    const pids =
      unpackAny(metric?.data, MetricsV1)?.pids?.current ??
      unpackAny(metric?.data, MetricsV2)?.pids?.current;
    hidden.push(...unmountedHierarchies());
    if (hidden.length === 0) assert.equal(pids, 1n);
    else t.diagnostic(`not measured: the shim of runc wants ${hidden.join(', ')} mounted`);
    assert.deepEqual((await tasks.metrics({ filters: ['id==other'] })).metrics, []);

    await tasks.pause({ containerId });
    assert.equal((await tasks.get({ containerId })).process?.status, Status.PAUSED);
    await tasks.resume({ containerId });
    const limit = { memory: { limit: 64 << 20 } };
    const typeUrl = 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources';
    await tasks.update({
      containerId,
      resources: { typeUrl, value: Buffer.from(JSON.stringify(limit)) },
    });

    await tasks.kill({ containerId, signal: 9 });
    const exit = await wait;
    assert.equal(exit.exitStatus, 137);
    const stopped = (await tasks.get({ containerId })).process;
    assert.deepEqual([stopped?.status, stopped?.exitStatus], [Status.STOPPED, 137]);
    const deleted = await tasks.delete({ containerId });
    assert.deepEqual([deleted.id, deleted.pid, deleted.exitStatus], ['', pid, 137]);
    assert.deepEqual(deleted.exitedAt, exit.exitedAt);
    assert.deepEqual(await bench.leftoversAfter(containerId), []);
    output.close();
  });

  test(`${name}: processes beside the first`, { skip }, async () => {
    await using bench = await TaskBench.start(kind, undefined, daemon);
    const { tasks } = bench;
    const containerId = 'exec';
    await bench.run(containerId, { args: ['/bin/sleep', '1000'] });
    const output = fifo(bench, 'out');
    const input = fifo(bench, 'in');
    await tasks.exec({
      containerId,
      execId: 'e1',
      stdin: input.path,
      stdout: output.path,
      stderr: output.path,
      spec: processSpec(['/bin/sh', '-c', 'read word; echo got $word; exit 7']),
    });
    const wait = tasks.wait({ containerId, execId: 'e1' });
    const { pid } = await tasks.start({ containerId, execId: 'e1' });
    assert.equal((await tasks.get({ containerId, execId: 'e1' })).process?.pid, pid);
    writeFileSync(input.path, 'this\n');
    await tasks.closeIO({ containerId, execId: 'e1', stdin: true });
    assert.equal(output.readLine(), 'got this\n');
    assert.equal((await wait).exitStatus, 7);
    const deleted = await tasks.deleteProcess({ containerId, execId: 'e1' });
    assert.deepEqual([deleted.id, deleted.pid, deleted.exitStatus], ['e1', pid, 7]);
    await rejects(tasks.get({ containerId, execId: 'e1' }), NOT_FOUND);
    await rejects(tasks.start({ containerId, execId: 'none' }), NOT_FOUND);
    output.close();
    input.close();
  });

  test(`${name}: a program that is not there`, { skip }, async () => {
    await using bench = await TaskBench.start(kind, undefined, daemon);
    const containerId = 'nope';
    await bench.makeContainer(containerId, { args: ['/bin/nope'] });
    const refused = await bench.createTask(containerId).then(
      // Where the error appears, at create or at start, is the runtime's affair.
      () => bench.tasks.start({ containerId }).catch((error: Error) => error),
      (error: Error) => error,
    );
    assert.match((refused as Error).message, /\/bin\/nope/);
    await bench.tasks.delete({ containerId }).catch(() => undefined); // only if it was created
    assert.deepEqual(await bench.leftoversAfter(containerId), []);
  });
}

test('inspect-runtime of ctr shows what a shim says of itself', async (t) => {
  const [kind] = shimKinds();
  const skip = skipWithout('tscontainerd') || kind?.skip || peer('ctr-2.1').skip;
  if (kind === undefined || skip) return t.skip(skip || 'no shim');
  await using bench = await TaskBench.start(kind);
  const args = ['plugins', 'inspect-runtime', '--runtime'];
  const found = bench.daemon.ctr('ctr-2.1', [...args, 'io.containerd.runc.v2']);
  assert.equal(found.status, 0, found.stderr);
  assert.equal(JSON.parse(found.stdout).Name, 'io.containerd.runc.v2');
  const missing = bench.daemon.ctr('ctr-2.1', [...args, 'io.containerd.nope.v1']);
  assert.match(missing.stderr, /binary not installed "containerd-shim-nope-v1"/);
});

/** Rejects with a gRPC status and, if given, its whole text. */
async function rejects(call: Promise<unknown>, code: number, details?: string): Promise<void> {
  await assert.rejects(call, details === undefined ? { code } : { code, details });
}

function processSpec(args: string[]) {
  const spec = { args, cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 }, capabilities: {} };
  return {
    typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Process',
    value: Buffer.from(JSON.stringify(spec)),
  };
}

/** A fifo that is open at this end, so that no other end waits for it. */
function fifo(bench: TaskBench, name: string) {
  const path = join(bench.daemon.directory, name);
  makeFifo(path, 0o600);
  const fd = openSync(path, constants.O_RDWR);
  return {
    path,
    readLine(): string {
      const bytes = Buffer.alloc(4096);
      return bytes.subarray(0, readSync(fd, bytes)).toString();
    },
    close: () => closeSync(fd),
  };
}
