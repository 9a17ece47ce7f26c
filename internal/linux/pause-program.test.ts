import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { pauseProgram } from './pause-program.ts';

const directory = mkdtempSync(join(tmpdir(), 'tsrunc-test-pause-'));
after(() => rmSync(directory, { recursive: true }));

const EMULATORS: Readonly<Record<string, string>> = { arm64: 'qemu-aarch64-static' };

/** Starts the program for a machine; undefined when nothing here can run it. */
async function start(machine: string): Promise<ChildProcess | undefined> {
  const path = join(directory, machine);
  writeFileSync(path, pauseProgram(machine), { mode: 0o755 });
  const [command, args] =
    machine === process.arch ? [path, []] : [EMULATORS[machine] ?? machine, [path]];
  const child = spawn(command, args, { stdio: 'ignore' });
  try {
    await once(child, 'spawn');
  } catch {
    return undefined; // there is no emulator
  }
  await isWaiting(child);
  return child;
}

/** Waits until the program, or its emulator, sleeps in rt_sigtimedwait. */
async function isWaiting(child: ChildProcess): Promise<void> {
  const number = process.arch === 'x64' ? '128' : '137';
  while (readFileSync(`/proc/${child.pid}/syscall`, 'utf8').split(' ')[0] !== number) {
    assert.equal(child.exitCode, null, 'it ended');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

describe('pause program', () => {
  for (const machine of ['x64', 'arm64']) {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      it(`${machine}: ends with status 0 on ${signal}, and on no other`, {
        timeout: 10_000,
      }, async (t) => {
        const child = await start(machine);
        if (child === undefined) {
          t.skip(`no ${EMULATORS[machine]} here`);
          return;
        }
        child.kill('SIGHUP');
        child.kill('SIGUSR1');
        child.kill(signal);
        assert.deepEqual(await once(child, 'exit'), [0, null]);
      });
    }
  }

  it('reaps children that are left to it', { timeout: 10_000 }, async () => {
    // As process 1 of a pid namespace it inherits what the shell's child leaves.
    const path = join(directory, 'reaper');
    writeFileSync(path, pauseProgram(), { mode: 0o755 });
    const script = `(sleep 0.1 &) ; exec ${path}`;
    const child = spawn('unshare', ['--pid', '--fork', '--mount-proc', 'sh', '-c', script], {
      stdio: 'ignore',
    });
    await once(child, 'spawn');
    const children = (pid: number): number[] =>
      readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
        .trim()
        .split(' ')
        .filter(Boolean)
        .map(Number);
    let pause: number | undefined;
    let hadSleep = false;
    for (;;) {
      pause ??= children(child.pid ?? 0)[0];
      const left = pause === undefined ? [] : children(pause);
      if (left.length > 0) hadSleep = true;
      else if (hadSleep) break;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    process.kill(pause ?? 0, 'SIGTERM');
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  });

  it('names a machine that it is not written for', () => {
    assert.throws(() => pauseProgram('mips'), { message: 'pause program for mips' });
  });
});
