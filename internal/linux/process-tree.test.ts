import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { killTree } from './process-tree.ts';

/** Processes that live and have `mark` in their arguments or their environment. */
function marked(mark: string): number[] {
  const has = (pid: string): boolean => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const isDead = 'ZX'.includes(stat.slice(stat.lastIndexOf(')') + 2)[0] ?? '');
      return !isDead && readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark);
    } catch {
      return false; // it has ended
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name) && has(name))
    .map(Number);
}

async function until(isSo: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + 30_000;
  while (!isSo()) {
    assert.ok(performance.now() < deadlineMs, what);
    await delay(10); // there is no event for another's process
  }
}

let number = 0;
function start(script: string): { pid: number; mark: string; ended: Promise<unknown[]> } {
  number++;
  const mark = `TREE=${process.pid}-${number}-`;
  const child = spawn('/bin/sh', ['-c', script], {
    env: { PATH: '/usr/bin:/bin', TREE: mark.slice(5) },
    stdio: 'ignore',
  });
  return { pid: child.pid ?? 0, mark, ended: once(child, 'exit') };
}

test('killTree kills a process and all that it has started', async () => {
  const { pid, mark, ended } = start(
    'sleep 1000 & sh -c "sleep 1000 & setsid sleep 1000 & wait" & wait',
  );
  await until(() => marked(mark).length === 5, 'two shells and three others run');
  assert.equal(killTree(pid), true);
  assert.deepEqual(await ended, [null, 'SIGKILL']);
  await until(() => marked(mark).length === 0, `${marked(mark)} live on`);
});

test('killTree kills those that go on to fork', async () => {
  // Each starts the next and waits for it, a hundred deep.
  const { pid, mark, ended } = start(
    'f() { sleep 1000 & test $1 = 0 || ( f $(($1 - 1)) ) & wait; }; for i in 1 2 3; do ( f 100 ) & done; wait',
  );
  await until(() => marked(mark).length > 50, 'it has begun to fork');
  assert.equal(killTree(pid), true);
  await ended;
  await until(() => marked(mark).length === 0, `${marked(mark)} live on`);
});

test('killTree does not touch what has another parent', async () => {
  const other = start('exec sleep 1000');
  const { pid, ended } = start('exec sleep 1000');
  killTree(pid);
  await ended;
  assert.deepEqual(marked(other.mark), [other.pid]);
  assert.equal(killTree(other.pid), true);
  await other.ended;
});

test('killTree of no process', async () => {
  const { pid, ended } = start('exit 0');
  await ended;
  assert.equal(killTree(pid), false);
});
