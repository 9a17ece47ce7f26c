// Checkpoint and restore through our shim: a container that was written to images runs on from where it was, in another shim.
// As with containerd's shim it is made by Start, for a restored process runs at once.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packAny } from '../../internal/api/any.ts';
import { CheckpointOptions } from '../../internal/api/generated/containerd.runc.v1.ts';
import { Status } from '../../internal/api/generated/containerd.v1.types.ts';
import { Code } from '../../ttrpc/index.ts';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import { isAlive, PlayedDaemon, skipWithout, until } from '../fixtures/shim.ts';

const SIGKILL = 9;

for (const runtime of ['tsrunc', 'in-process'] as const) {
  const skip = skipWithout(runtime) || useCriu();

  test(`a container of ${runtime} is written to images and restored by Start`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const annotations = criuAnnotations(daemon.directory);
    const images = join(daemon.directory, 'images');
    mkdirSync(images);
    const first = await daemon.shim(['/bin/sleep', '1000'], { id: 'c1', runtime, annotations });
    mkdirSync(join(first.bundle, 'work'), { recursive: true });
    await first.create();
    await first.start();
    const options = packAny(CheckpointOptions, { exit: true });
    await first.task.checkpoint({ id: 'c1', path: images, options });
    assert.equal(await first.wait(), 128 + SIGKILL);
    await first.finish();

    const second = await daemon.shim(['/bin/sleep', '1000'], { id: 'c2', runtime, annotations });
    mkdirSync(join(second.bundle, 'work'), { recursive: true });
    assert.equal(await second.create({ checkpoint: images }), 0, 'nothing runs yet');
    assert.equal((await second.task.state({ id: 'c2' })).status, Status.CREATED);
    await assert.rejects(second.task.kill({ id: 'c2', signal: SIGKILL }), {
      code: Code.FAILED_PRECONDITION,
      message: 'process not created: failed precondition',
    });
    const pid = await second.start();
    assert.ok(isAlive(pid));
    assert.equal((await second.task.state({ id: 'c2' })).status, Status.RUNNING);
    await second.task.kill({ id: 'c2', signal: SIGKILL });
    assert.equal(await second.wait(), 128 + SIGKILL);
    await second.finish();
  });
}

test('images that are not there are missed by Start, and the task can be deleted', {
  skip: skipWithout('tsrunc') || useCriu(),
}, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime: 'tsrunc' });
  await shim.create({ checkpoint: join(daemon.directory, 'no-images') });
  await assert.rejects(shim.start(), (error: Error) => {
    assert.match(error.message, /^OCI runtime restore failed: .*no-images/);
    return true;
  });
  await shim.finish();
  await until(() => daemon.topics.includes('/tasks/delete'), 'the last event');
});
