// The tasks of a pod live in one shim. It ends with the last of them, in whatever order they go, and when it dies each of
// them has ended.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { Status } from '../../internal/api/generated/containerd.v1.types.ts';
import { skipWithout } from '../fixtures/daemon.ts';
import { until } from '../fixtures/shim.ts';
import { shimKinds, TaskBench } from '../fixtures/tasks.ts';

const NOT_FOUND = 5;

for (const kind of shimKinds().filter(({ name }) => !/1\.6|with tsrunc/.test(name))) {
  const skip = skipWithout('tscontainerd') || kind.skip;

  test(`${kind.name}: tasks of one sandbox share a shim, also after a restart`, {
    skip,
  }, async () => {
    await using bench = await TaskBench.start(kind);
    const { tasks } = bench;
    const options = { args: ['/bin/sleep', '1000'], sandbox: 'pod' };
    for (const id of ['pod', 'app', 'other']) await bench.run(id, options);
    const shim = bench.shimPid('pod');
    assert.deepEqual([bench.shimPid('app'), bench.shimPid('other')], [shim, shim]);
    await end(bench, 'pod'); // the shim goes on in a directory that is gone
    await bench.daemon.kill('SIGKILL');
    await bench.restart();
    for (const id of ['app', 'other']) {
      assert.equal((await tasks.get({ containerId: id })).process?.status, Status.RUNNING);
    }
    await bench.run('late', options);
    assert.equal(bench.shimPid('late'), shim);
    for (const id of ['app', 'late', 'other']) await end(bench, id);
    for (const id of ['pod', 'app', 'late', 'other']) {
      assert.deepEqual(await bench.leftoversAfter(id), []);
    }
    await until(() => !existsSync(`/proc/${shim}/cwd`), 'the shim to end after its last task');
  });

  test(`${kind.name}: when the shim of a sandbox dies, all its tasks end`, { skip }, async () => {
    await using bench = await TaskBench.start(kind);
    const { tasks } = bench;
    const options = { args: ['/bin/sleep', '1000'], sandbox: 'pod' };
    const ids = ['pod', 'app'];
    for (const id of ids) await bench.run(id, options);
    const waits = ids.map((containerId) => tasks.wait({ containerId }));
    await tasks.list({}); // by now the daemon has the calls
    process.kill(bench.shimPid('pod'), 'SIGKILL');
    for (const wait of waits) assert.equal((await wait).exitStatus, 137);
    for (const id of ids) {
      assert.deepEqual(await bench.leftoversAfter(id), []);
      await assert.rejects(tasks.get({ containerId: id }), { code: NOT_FOUND });
    }
  });
}

async function end(bench: TaskBench, containerId: string): Promise<void> {
  await bench.tasks.kill({ containerId, signal: 9 });
  assert.equal((await bench.tasks.wait({ containerId })).exitStatus, 137);
  await bench.tasks.delete({ containerId });
}
