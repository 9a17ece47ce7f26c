import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { killShimProcesses, shimProcesses } from './shim-processes.ts';

/** A shell with these arguments that has started a child and says so. */
async function shell(cwd: string, args: string[]): Promise<ChildProcess> {
  // The inner shell says its pid: what is forked and has not executed anything yet still looks like a shim.
  const script = "/bin/sh -c 'echo $$; exec sleep 100' & wait";
  const child = spawn('/bin/sh', ['-c', script, 'shim', ...args], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const output = await new Promise<Buffer>((resolve) => child.stdout?.once('data', resolve));
  Object.assign(child, { childPid: Number(output.toString()) });
  return child;
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // no such process
  }
};

test('killShimProcesses: kills by directory and id, with descendants, and nothing else', async () => {
  const bundle = realpathSync(mkdtempSync(join(tmpdir(), 'bundle-')));
  const other = realpathSync(mkdtempSync(join(tmpdir(), 'bundle-')));
  const args = ['-namespace', 'n', '-id', 'one', '-address', 'a'];
  const shim = await shell(bundle, args);
  const bystanders = [
    await shell(other, args),
    await shell(bundle, ['-namespace', 'n', '-id', 'two']),
    await shell(bundle, ['-name', 'one']),
  ];
  try {
    const exited = new Promise((resolve) => shim.once('exit', (_code, signal) => resolve(signal)));
    assert.deepEqual(await shimProcesses(bundle, 'one'), [shim.pid]);
    const killed = await killShimProcesses(bundle, 'one');
    assert.equal(killed, 2);
    assert.equal(await exited, 'SIGKILL');
    assert.deepEqual(await shimProcesses(bundle, 'one'), []);
    for (const { pid } of bystanders) assert.equal(isAlive(pid as number), true);
  } finally {
    for (const child of [...bystanders, shim]) {
      const { childPid } = child as unknown as { childPid: number };
      if (isAlive(childPid)) process.kill(childPid, 'SIGKILL');
      child.kill('SIGKILL');
    }
    rmSync(bundle, { recursive: true });
    rmSync(other, { recursive: true });
  }
});
