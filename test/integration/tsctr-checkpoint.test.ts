// Checkpoints of containers by tsctr and by ctr, each restored by the other over our daemon, with CRIU: a counter goes on in
// another container, with its files.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import { type CtrResult, skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { removeNamespaceTraces } from '../fixtures/namespace-traces.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { shimKinds } from '../fixtures/tasks.ts';
import { skipWithoutTsctr, tsctr } from '../fixtures/tsctr.ts';
import { peer } from '../peers/index.ts';

const IMAGE = 'example.com/box:1';
const SAVED = 'example.com/saved:1';
const COUNTER = 'i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.05; done';

const withoutCriu = useCriu();
const [criuPath = ''] = (process.env['PATH'] ?? '').split(':');
const kind = shimKinds().find(({ name }) => name === 'containerd-shim-tsrunc-v2');
const skip =
  skipWithout('tscontainerd') ||
  withoutCriu ||
  skipWithoutTsctr ||
  peer('ctr-2.1').skip ||
  (kind === undefined ? 'no shim' : kind.skip);

type Run = (...args: string[]) => CtrResult;

for (const [writer, reader] of [
  ['tsctr', 'ctr'],
  ['ctr', 'tsctr'],
  ['tsctr', 'tsctr'],
] as const) {
  test(`a counter that ${writer} has checkpointed goes on by ${reader}`, { skip }, async () => {
    const { runtime = '', path = '' } = kind ?? {};
    await using daemon = await TestDaemon.start('tscontainerd', {
      env: { PATH: `${criuPath}:${path}` },
    });
    const namespace = `twocheck${process.pid}`;
    const clients: Record<'ctr' | 'tsctr', Run> = {
      ctr: (...args) => daemon.ctr('ctr-2.1', ['-n', namespace, ...args]),
      tsctr: (...args) => tsctr(['-a', daemon.address, '-n', namespace, ...args]),
    };
    const call = (run: Run, ...args: string[]): string => {
      const { status, stdout, stderr } = run(...args);
      assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
      return stdout;
    };
    const { ctr } = clients;
    let execs = 0;
    const untilAbove = async (id: string, number: number): Promise<number> => {
      const deadlineMs = performance.now() + 30_000;
      for (;;) {
        const exec = ['tasks', 'exec', '--exec-id', `e${execs++}`, id, '/bin/cat', '/count'];
        const seen = Number(call(ctr, ...exec));
        if (seen > number) return seen;
        assert.ok(performance.now() < deadlineMs, `the counter of ${id} stays at ${seen}`);
        await delay(50); // a container has no event for what it writes
      }
    };
    const archive = join(daemon.directory, 'image.tar');
    const image = await buildImage({ name: IMAGE, layers: [busyboxRootfs().entries] });
    writeFileSync(archive, await imageArchive(image));
    call(ctr, 'images', 'import', archive);
    const annotations = Object.entries(criuAnnotations(daemon.directory)).flatMap(
      ([key, value]) => ['--annotation', `${key}=${value}`],
    );
    const run = ['run', '-d', '--runtime', runtime, ...annotations];
    call(ctr, ...run, IMAGE, 'one', '/bin/sh', '-c', COUNTER);
    try {
      const before = await untilAbove('one', 5);
      const parts = ['--rw', '--image', '--task'];
      call(clients[writer], 'containers', 'checkpoint', ...parts, 'one', SAVED);
      assert.match(call(ctr, 'tasks', 'ls'), /^one +\d+ +RUNNING/m);
      call(ctr, 'tasks', 'rm', '--force', 'one');
      call(clients[reader], 'containers', 'restore', '--rw', '--live', 'two', SAVED);
      await untilAbove('two', before);
      call(ctr, 'tasks', 'rm', '--force', 'two');
      // Without its memory it begins anew, on the files that it had.
      call(clients[reader], 'containers', 'restore', '--rw', 'three', SAVED);
      await untilAbove('three', 0);
    } finally {
      for (const id of ['one', 'two', 'three']) ctr('tasks', 'rm', '--force', id);
      removeNamespaceTraces(namespace);
    }
  });
}
