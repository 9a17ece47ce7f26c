import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { processFigures } from './process-figures.ts';

test('processFigures: threads, descriptors, sockets and states', async () => {
  const before = await processFigures([process.pid]);
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const child = spawn('sleep', ['1000'], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    await once(child, 'spawn');
    child.kill('SIGSTOP');
    const pid = child.pid ?? 0;
    const stopped = async () => (await processFigures([pid])).states.stopped === 1n;
    while (!(await stopped())) await new Promise((resolve) => setImmediate(resolve));
    const both = await processFigures([process.pid, pid]);
    assert.ok(both.threads > before.threads && both.sockets > before.sockets);
    assert.ok(both.descriptors >= both.sockets + 3n); // the child has three of its own
    assert.ok(both.states.running >= 1n, 'this thread runs');
    const sum = Object.values(both.states).reduce((total, one) => total + one);
    assert.equal(sum, both.threads);
    assert.ok((both.openFilesLimit ?? 0n) >= 64n);
  } finally {
    child.kill('SIGKILL');
    server.close();
    await once(child, 'exit');
  }
});

test('processFigures: a process that is gone has none', async () => {
  assert.deepEqual(await processFigures([2 ** 22 + 1]), {
    threads: 0n,
    descriptors: 0n,
    sockets: 0n,
    states: { running: 0n, sleeping: 0n, stopped: 0n, uninterruptible: 0n },
    openFilesLimit: undefined,
  });
});

test('processFigures: others are served while a process with many descriptors is looked at', async () => {
  const opened = Array.from({ length: 3000 }, () => openSync('/dev/null', 'r'));
  let turns = 0;
  const turn = setInterval(() => turns++, 0);
  try {
    const { descriptors } = await processFigures([process.pid]);
    assert.ok(descriptors >= 3000n);
    assert.ok(turns > 0, 'timers have run meanwhile');
  } finally {
    clearInterval(turn);
    opened.forEach(closeSync);
  }
});
