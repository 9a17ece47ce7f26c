import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { exists, kill } from './kill.ts';
import { openPidfd, signalPidfd } from './pidfd.ts';
import { Pipe } from './pipe.ts';
import { waitReadable } from './poll.ts';
import { SyscallProgram } from './program/syscall-program.ts';
import { waitForBytes } from './steps/files.ts';
import { cloneProcess } from './steps/namespaces.ts';
import { exit, resetSignals } from './steps/processes.ts';
import { peekExited, peekExitedChild, reap, waitForChild } from './wait.ts';

/** A child that libuv does not know: it waits for the gate, then exits with the status. */
function startChild(gate: Pipe, status: number): number {
  using reports = new Pipe();
  const program = new SyscallProgram();
  const reportTo = reports.writeEnd.number;
  const pid = program.main.clone(cloneProcess(), { reportTo }, (child) => {
    child.addAll(resetSignals());
    child.add(waitForBytes(gate.readEnd.number));
    child.add(exit(status));
  });
  using run = program.run();
  return run.value(pid);
}

test('peek and reap: peeking leaves the child, reaping takes it', async () => {
  using gate = new Pipe();
  const pid = startChild(gate, 3);
  assert.equal(peekExited(pid), undefined);
  assert.equal(reap(pid), undefined, 'it has not ended');
  using pidfd = openPidfd(pid);
  assert.ok(pidfd);
  assert.ok(signalPidfd(pidfd, 15));
  await waitReadable(pidfd.number);
  const expected = { pid, status: undefined, signal: 15, exitCode: 143 };
  assert.deepEqual(peekExitedChild(), expected);
  assert.deepEqual(peekExited(pid), expected);
  assert.ok(exists(pid), 'a zombie');
  assert.deepEqual(reap(pid), expected);
  assert.equal(reap(pid), undefined);
  assert.ok(!exists(pid));
  assert.ok(!signalPidfd(pidfd, 15));
  assert.equal(openPidfd(pid), undefined);
  assert.ok(!kill(pid, 15));
});

test('waitForChild: waits for the end and gives the status', () => {
  using gate = new Pipe();
  const pid = startChild(gate, 42);
  kill(pid, 9);
  assert.deepEqual(waitForChild(pid), { pid, status: undefined, signal: 9, exitCode: 137 });
  assert.equal(waitForChild(pid), undefined, 'no child of this process any more');
});

test('peekExitedChild: a child of libuv is left to libuv, which then reports its end', async () => {
  const child = spawn('/bin/sh', ['-c', 'exit 9']);
  const pid = child.pid ?? 0;
  using pidfd = openPidfd(pid);
  assert.ok(pidfd);
  const ended = once(child, 'exit');
  assert.deepEqual(await ended, [9, null]);
  assert.equal(peekExited(pid), undefined);
});

test('kill: a process of nobody, and a signal that does not exist', () => {
  assert.equal(kill(2 ** 22 + 1, 15), false);
  assert.throws(() => kill(process.pid, 65), {
    message: `send signal 65 to ${process.pid}: EINVAL`,
  });
});
