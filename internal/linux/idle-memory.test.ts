import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getHeapCodeStatistics } from 'node:v8';
import { IdleMemory } from './idle-memory.ts';

test('IdleMemory gives back once after the last of several touches, then pauses', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let releases = 0;
  using memory = new IdleMemory({
    quietMs: 100,
    pauseMs: 60_000,
    release: () => {
      releases++;
    },
  });
  for (let index = 0; index < 5; index++) {
    memory.touch();
    context.mock.timers.tick(60);
  }
  assert.equal(releases, 0);
  context.mock.timers.tick(100);
  assert.equal(releases, 1);
  memory.touch();
  context.mock.timers.tick(1000);
  assert.equal(releases, 1, 'not so soon again');
  context.mock.timers.tick(60_000);
  assert.equal(releases, 2);
  context.mock.timers.tick(600_000);
  assert.equal(releases, 2, 'not without a touch');
});

test('IdleMemory gives back after many touches that never leave it idle', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const releases: boolean[] = [];
  const release = (isIdle: boolean) => releases.push(isIdle);
  using memory = new IdleMemory({ quietMs: 100, pauseMs: 0, busyTouches: 5, release });
  for (let index = 0; index < 14; index++) {
    memory.touch();
    context.mock.timers.tick(60);
  }
  assert.deepEqual(releases, [false, false], 'twice after five');
  context.mock.timers.tick(100);
  assert.deepEqual(releases, [false, false, true]);
  for (let index = 0; index < 4; index++) memory.touch();
  assert.equal(releases.length, 3, 'the count begins again with what is given back');
  memory.touch();
  assert.deepEqual(releases, [false, false, true, false]);
});

test('IdleMemory collects for real', async () => {
  let garbage: unknown[] | undefined = Array.from({ length: 200_000 }, (_, index) => ({ index }));
  const usedBefore = process.memoryUsage().heapUsed;
  assert.equal(garbage.length, 200_000);
  garbage = undefined;
  using memory = new IdleMemory({ quietMs: 1 });
  memory.touch();
  const deadlineMs = performance.now() + 10_000;
  while (process.memoryUsage().heapUsed > usedBefore - 4_000_000) {
    assert.ok(performance.now() < deadlineMs, 'nothing was given back');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
});

test('IdleMemory drops code that has run, once, and it can run again', async () => {
  const bodies = Array.from({ length: 10_000 }, (_, n) => new Function(`return [${n}, ${n} + 1]`));
  for (const body of bodies) body();
  const bytes = (): number => getHeapCodeStatistics().bytecode_and_metadata_size;
  const before = bytes();
  using memory = new IdleMemory({ quietMs: 1 });
  memory.touch();
  const deadlineMs = performance.now() + 10_000;
  while (bytes() > before / 4) {
    assert.ok(performance.now() < deadlineMs, `${before} bytes, then ${bytes()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(bodies[7]?.(), [7, 8]);
});
