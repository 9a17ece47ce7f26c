import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ProcessOperation, ProcessState, type ProcessStatus } from './process-state.ts';

const PATHS: Record<ProcessStatus, ProcessStatus[]> = {
  created: [],
  running: ['running'],
  paused: ['running', 'paused'],
  stopped: ['running', 'stopped'],
  deleted: ['stopped', 'deleted'],
};

function at(status: ProcessStatus): ProcessState {
  const state = new ProcessState();
  for (const step of PATHS[status]) state.become(step);
  return state;
}

const OPERATIONS: ProcessOperation[] = [
  'start',
  'delete',
  'pause',
  'resume',
  'exec',
  'update',
  'checkpoint',
  'resize',
];

const POSSIBLE: [ProcessStatus, ProcessOperation[]][] = [
  ['created', ['start', 'delete', 'exec', 'update', 'resize']],
  ['running', ['pause', 'exec', 'update', 'checkpoint', 'resize']],
  ['paused', ['resume', 'update', 'checkpoint', 'resize']],
  ['stopped', ['delete']],
  ['deleted', []],
];

for (const [status, possible] of POSSIBLE) {
  for (const operation of OPERATIONS) {
    const isPossible = possible.includes(operation);
    test(`ProcessState ${isPossible ? 'allows' : 'refuses'} ${operation} when ${status}`, () => {
      if (isPossible) at(status).assertCan(operation);
      else {
        assert.throws(() => at(status).assertCan(operation), {
          kind: status === 'deleted' ? 'NotFound' : 'FailedPrecondition',
          message: `cannot ${operation} a ${status} process`,
        });
      }
    });
  }
}

test('ProcessState calls a step back a bug', () => {
  assert.throws(() => at('stopped').become('running'), {
    kind: 'Internal',
    message: 'internal error: process goes from stopped to running',
  });
});
