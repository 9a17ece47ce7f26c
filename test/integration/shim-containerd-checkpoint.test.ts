// Checkpoint and restore by ctr under Debian's containerd with our shim, both ways to the runtime: a counter that was
// written to an image goes on counting in another container, with the files that it had written. Under our daemon: tasks-checkpoint.
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import { skipWithout as skipDaemon } from '../fixtures/daemon.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { isAlive, skipWithout, until } from '../fixtures/shim.ts';
import { Machine } from '../fixtures/shim-machine.ts';

const withoutCriu = useCriu();
const [criuPath = ''] = (process.env['PATH'] ?? '').split(':');
const IMAGE = 'example.com/box:1';
const SAVED = 'example.com/saved:1';
const COUNTER = 'i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.05; done';

const PAIRS = [
  ['containerd-1.6', 'tsrunc'],
  ['containerd-1.6', 'in-process'],
  ['containerd-2.1', 'tsrunc'],
  ['containerd-2.1', 'in-process'],
] as const;

async function importImage(machine: Machine): Promise<void> {
  const archive = join(machine.directory, 'image.tar');
  const layers = [busyboxRootfs().entries];
  writeFileSync(archive, await imageArchive(await buildImage({ name: IMAGE, layers })));
  machine.output('images', 'import', archive);
}

let execs = 0;

/** What the counter of a container has counted to: 0 while it writes. */
function count(machine: Machine, id: string): number {
  const exec = ['tasks', 'exec', '--exec-id', `e${execs++}`, id, '/bin/cat', '/count'];
  return Number(machine.ctr(...exec).stdout);
}

async function untilAbove(machine: Machine, id: string, number: number): Promise<number> {
  const deadlineMs = performance.now() + 30_000;
  for (;;) {
    const seen = count(machine, id);
    if (seen > number) return seen;
    assert.ok(performance.now() < deadlineMs, `the counter of ${id} stays at ${seen}`);
    await delay(50); // a container has no event for what it writes
  }
}

/** Ends a task; resolves when its shim has left. */
async function end(machine: Machine, id: string): Promise<void> {
  const shim = machine.shimOf(id);
  machine.output('tasks', 'kill', '--signal', 'SIGKILL', id);
  await until(() => machine.status(id) === 'STOPPED', 'the task to stop');
  assert.equal(machine.deleteTask(id), 137);
  machine.output('containers', 'rm', id);
  await until(() => !isAlive(shim), 'the shim to leave');
}

for (const [kind, runtime] of PAIRS) {
  test(`${kind}, ${runtime}: what ctr checkpoints runs on, and is restored`, {
    skip: skipDaemon(kind) || skipWithout(runtime) || withoutCriu,
  }, async () => {
    await using machine = await Machine.start(kind, runtime, { programs: criuPath });
    await importImage(machine);
    const annotations = Object.entries(criuAnnotations(machine.directory)).flatMap(
      ([key, value]) => ['--annotation', `${key}=${value}`],
    );
    const args = [...machine.runtime, ...annotations, IMAGE, 'one', '/bin/sh', '-c', COUNTER];
    machine.output('run', '-d', ...args);
    await untilAbove(machine, 'one', 5);
    // The ctr of 1.6 tells directories to runc's own shims alone.
    if (kind !== 'containerd-1.6') {
      const files = join(machine.directory, 'files');
      mkdirSync(files);
      machine.output('tasks', 'checkpoint', '--image-path', files, 'one');
      assert.ok(existsSync(join(files, 'inventory.img')));
      // It is an image as well, named by the second: the next one's name may be the same.
      const names = machine.output('images', 'ls', '-q').trim().split('\n');
      const [named = ''] = names.filter((name) => name.startsWith('containerd.io/checkpoint/'));
      machine.output('images', 'rm', named);
    }
    const image = machine.output('tasks', 'checkpoint', 'one').trim();
    assert.match(image, /^containerd\.io\/checkpoint\/one:/);
    await untilAbove(machine, 'one', count(machine, 'one'));
    // What the ctr of 1.6 writes has no task in it: it restores nothing of it, of runc's shim neither.
    if (kind === 'containerd-1.6') {
      await end(machine, 'one');
      return;
    }

    const before = count(machine, 'one');
    machine.output('containers', 'checkpoint', '--rw', '--image', '--task', 'one', SAVED);
    await end(machine, 'one');
    machine.output('containers', 'restore', '--rw', '--live', 'two', SAVED);
    const after = await untilAbove(machine, 'two', before);
    assert.ok(after < before + 500, `${after} after ${before}: it has not begun anew`);
    await untilAbove(machine, 'two', after);
    await end(machine, 'two');
  });
}
