import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Progress } from '../api/generated/containerd.types.transfer.ts';
import { TransferProgress } from './progress.ts';
import { ProgressDisplay } from './progress-display.ts';

const LAYER = `layer-sha256:${'a'.repeat(64)}`;

function event(part: Partial<Progress>): Progress {
  return Progress.create(part);
}

function pulling(): TransferProgress {
  const progress = new TransferProgress(1000);
  progress.add(event({ event: 'resolving' }));
  progress.add(event({ event: 'waiting', name: LAYER, parents: ['manifest-1'] }));
  progress.add(event({ event: 'complete', name: 'manifest-1', progress: 500n, total: 500n }));
  progress.add(event({ event: 'downloading', name: LAYER, progress: 1048576n, total: 2097152n }));
  return progress;
}

test('TransferProgress: blobs stand below what refers to them, with bars and sizes', () => {
  assert.deepEqual(pulling().render(100, 3000), [
    'manifest-1                   complete',
    `  layer-sha256:aaaaaaaaaaaa  downloading |${'+'.repeat(19)}>${'-'.repeat(19)}| 1.0 MiB/2.0 MiB`,
    'resolving  elapsed: 2.0 s  total: 1.0 MiB (512.2 KiB/s)',
  ]);
});

for (const columns of [20, 40, 60, 79, 200]) {
  test(`TransferProgress: no line is longer than a terminal of ${columns} columns`, () => {
    for (const line of pulling().render(columns, 2000)) assert.ok(line.length <= columns, line);
  });
}

test('TransferProgress: images that were stored', () => {
  const progress = pulling();
  progress.add(event({ event: 'saved', name: 'docker.io/library/x:1' }));
  assert.deepEqual(progress.saved(), ['docker.io/library/x:1']);
});

/** A terminal that remembers what it was written. */
function terminal(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, columns: 50, rows: 10, written, write: (text: string) => written.push(text) };
}

test('ProgressDisplay: the last state is left on the terminal', () => {
  const screen = terminal(true);
  {
    using _display = new ProgressDisplay(screen, pulling());
  }
  const lines = screen.written.join('').split('\n');
  assert.equal(lines.length, 4);
  // How much of the digest is shown depends on the width of the rate, and that on the clock.
  assert.equal(lines[1]?.slice(0, 22), '\x1b[2K  layer-sha256:aaa');
});

test('ProgressDisplay: nothing is drawn where there is no terminal', () => {
  const file = terminal(false);
  {
    using _display = new ProgressDisplay(file, pulling());
  }
  assert.deepEqual(file.written, []);
});
