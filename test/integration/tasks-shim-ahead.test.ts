// A shim is started when its container is created: the task that follows finds it there, and without one it ends.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { shimKinds, TaskBench } from '../fixtures/tasks.ts';

const DEADLINE_MS = 30_000;
const kind = shimKinds().find(({ name }) => name === 'containerd-shim-tsrunc-v2');
if (kind === undefined) throw new Error('no kind of shim for these tests');

/** The shims of a daemon that wait for a task. */
function sparesOf({ daemon }: TaskBench): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      const args = textOf(`/proc/${pid}/cmdline`).split('\0');
      return args.includes('spare') && args.includes(daemon.address);
    })
    .map(Number);
}

/** The text of a file of /proc; '' when the process has ended. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

async function until<T>(what: string, look: () => T | undefined | Promise<T | undefined>) {
  for (const startMs = performance.now(); ; ) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() - startMs > DEADLINE_MS) throw new Error(`in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('a shim that is started with its container', { skip: kind.skip }, () => {
  it('gets the task that follows', async () => {
    await using bench = await TaskBench.start(kind);
    let count = 0;
    // On a machine that is too busy for the task to follow at once it is another shim's.
    await until('a task in the shim that was there before it', async () => {
      const id = `ahead-${count++}`;
      await bench.makeContainer(id, { args: ['/bin/sleep', '1000'] });
      const spare = await until('a spare shim', () => sparesOf(bench)[0]);
      const pid = await bench.createTask(id);
      const parent = /^PPid:\s*(\d+)$/m.exec(textOf(`/proc/${pid}/status`))?.[1];
      return Number(parent) === spare || undefined;
    });
  });

  it('ends when no task follows', async () => {
    await using bench = await TaskBench.start(kind);
    await bench.makeContainer('alone', { args: ['/bin/true'] });
    const spare = await until('a spare shim', () => sparesOf(bench)[0]);
    await until('its end', () => textOf(`/proc/${spare}/cmdline`) === '' || undefined);
    assert.deepEqual(sparesOf(bench), []);
  });
});
