import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exitOf, runBlocking } from './operation.ts';
import { Pipe } from './pipe.ts';
import type { Sequence } from './program/sequence.ts';
import { check, type Step } from './program/step.ts';
import { SyscallProgram } from './program/syscall-program.ts';
import { cloneProcess } from './steps/namespaces.ts';
import { changeDirectory, execute, stringArray } from './steps/processes.ts';
import { Trace } from './trace.ts';

const getpid: Step = { label: 'get pid', call: 'getpid', args: [] };

/** The trace of a program whose child does what `build` says; numbers that differ each time are N. */
function traceOf(build: (child: Sequence) => void): string[] {
  using trace = new Trace();
  using report = new Pipe();
  const program = new SyscallProgram();
  program.main.add(getpid, { as: 'self' });
  const options = { reportTo: report.writeEnd.number, as: 'init' };
  const pid = program.main.clone(cloneProcess({}), options, build);
  using run = program.run();
  runBlocking(exitOf(run.value(pid)));
  return trace.lines().map((line) => line.replace(/\d+\.\d/g, 'N').replace(/-> \d{2,}/, '-> PID'));
}

/** Widths differ with the numbers: one blank is as good as many. */
function narrow(lines: readonly string[]): string[] {
  return lines.map((line) => line.trim().replace(/ +/g, ' '));
}

test('trace: each step of each process, with its result; what ends a process well is left out', () => {
  const lines = traceOf((child) => {
    const pid = child.add(getpid, { as: 'pid' });
    child.add(changeDirectory('/nonexistent'), { tolerate: 'ENOENT' });
    child.add(check('is positive', pid, { mask: 0, equals: 0, errno: 'EPERM' }));
  });
  assert.deepEqual(narrow(lines), [
    'at µs took µs process step',
    'N N runtime 1 self = getpid() -> PID # get pid',
    'N N runtime 2 init = clone3({flags=CLONE_CLEAR_SIGHAND, exit_signal=SIGCHLD}, 88) -> PID # clone process',
    'N N init 3 pid = getpid() -> PID # get pid',
    'N N init 4 chdir("/nonexistent") -> ENOENT (tolerated) # chdir /nonexistent',
    'N N init 5 check((pid & 0) == 0) -> 0 # is positive',
  ]);
});

test('trace: a step that failed is the last', () => {
  const lines = traceOf((child) => {
    child.add(getpid);
    child.add(changeDirectory('/nonexistent'));
    child.add(getpid);
  });
  assert.equal(
    narrow(lines).at(-1),
    'N N init 4 chdir("/nonexistent") -> ENOENT (failed) # chdir /nonexistent',
  );
});

test('trace: a program that was executed never returned', () => {
  const lines = traceOf((child) => {
    child.add(execute('/bin/true', stringArray(['true']), stringArray([])));
  });
  const last = 'N - init 3 execve("/bin/true", ["true"], []) -> (executed) # exec /bin/true';
  assert.equal(narrow(lines).at(-1), last);
});

test('trace: times are those of the clock', () => {
  using trace = new Trace();
  const program = new SyscallProgram();
  program.main.add(getpid);
  const sleepMs = 20;
  program.run()[Symbol.dispose]();
  const before = process.hrtime.bigint();
  while (process.hrtime.bigint() - before < BigInt(sleepMs) * 1_000_000n);
  program.run()[Symbol.dispose]();
  const between = Number(process.hrtime.bigint() - before) / 1000;
  const [first, second] = trace.steps();
  const measured = (second?.startUs ?? 0) - (first?.startUs ?? 0);
  assert.ok(
    measured > sleepMs * 990 && measured < between * 1.1 + 5000,
    `${measured} of ${between}`,
  );
});

test('trace: after it was disposed programs run as usual', () => {
  const trace = new Trace();
  trace[Symbol.dispose]();
  const program = new SyscallProgram();
  program.main.add(getpid);
  program.run()[Symbol.dispose]();
  assert.deepEqual(trace.steps(), []);
});
