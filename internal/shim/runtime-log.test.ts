import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lastRuntimeError, runtimeError } from './runtime-log.ts';

const line = (level: string, msg: string): string =>
  `${JSON.stringify({ level, msg, time: '2026-01-02T03:04:05Z' })}\n`;

test('lastRuntimeError finds the last error among warnings and torn lines', () => {
  const log = `${line('error', 'first')}${line('error', 'second ')}${line('warning', 'late')}{"level":"err`;
  assert.equal(lastRuntimeError(log), 'second');
});

test('lastRuntimeError reads entries that are spread over lines, as crun writes them', () => {
  const entry = (level: string, msg: string): string =>
    `${JSON.stringify({ msg, level, time: 'T' }, null, 2)}\n`;
  assert.equal(lastRuntimeError(entry('error', 'a {\n{ b') + entry('warning', 'c')), 'a {\n{ b');
});

for (const log of ['', '\n\n', 'null\n', '[]\n', 'text\n', line('info', 'fine')]) {
  test(`lastRuntimeError finds none in ${JSON.stringify(log)}`, () => {
    assert.equal(lastRuntimeError(log), undefined);
  });
}

const base = { command: 'create', log: '', output: '', code: 1, signal: null };

test('runtimeError prefers the log, then the last line printed, then how it ended', () => {
  const log = line('error', 'mount proc on /proc: EPERM');
  assert.equal(
    runtimeError({ ...base, log, output: 'noise\n' }).message,
    'OCI runtime create failed: mount proc on /proc: EPERM',
  );
  assert.equal(
    runtimeError({ ...base, output: 'a\nlast words\n\n' }).message,
    'OCI runtime create failed: last words',
  );
  assert.equal(runtimeError(base).message, 'OCI runtime create failed: exit status 1');
  assert.equal(
    runtimeError({ ...base, code: null, signal: 'SIGKILL' }).message,
    'OCI runtime create failed: killed by SIGKILL',
  );
});

for (const words of [
  'os: process already finished',
  'container not running',
  'No such process',
  'container does not exist',
  'container "x" does not exist',
]) {
  test(`runtimeError of kill is NotFound for "${words}"`, () => {
    const error = runtimeError({ ...base, command: 'kill', log: line('error', words) });
    assert.equal(error.kind, 'NotFound');
    assert.equal(error.message, 'process already finished');
  });
}

test('runtimeError of create does not take a missing file for a missing container', () => {
  const error = runtimeError({ ...base, log: line('error', '/x does not exist') });
  assert.equal(error.kind, 'Unknown');
});
