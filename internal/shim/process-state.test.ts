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

/** Refusals that are not `cannot OPERATION a STATUS process`. */
const REFUSALS: Readonly<Record<string, string>> = {
  'pause created': 'cannot pause task in created state',
  'pause paused': 'cannot pause a paused container',
  'pause stopped': 'cannot pause a stopped container',
  'pause deleted': 'cannot pause a deleted container',
  'resume created': 'cannot resume task in created state',
  'resume stopped': 'cannot resume a stopped container',
  'resume deleted': 'cannot resume a deleted container',
  'exec paused': 'cannot exec in a paused state',
  'exec stopped': 'cannot exec in a stopped state',
  'exec deleted': 'cannot exec in a deleted state',
  'update stopped': 'cannot update a stopped container',
  'update deleted': 'cannot update a deleted container',
  'checkpoint created': 'cannot checkpoint a task in created state',
  'checkpoint stopped': 'cannot checkpoint a stopped container',
  'checkpoint deleted': 'cannot checkpoint a deleted container',
  'resize stopped': 'cannot resize a stopped container',
  'resize deleted': 'cannot resize a deleted container',
};

for (const [status, possible] of POSSIBLE) {
  for (const operation of OPERATIONS) {
    const isPossible = possible.includes(operation);
    test(`ProcessState ${isPossible ? 'allows' : 'refuses'} ${operation} when ${status}`, () => {
      if (isPossible) at(status).assertCan(operation);
      else {
        assert.throws(() => at(status).assertCan(operation), {
          kind: status === 'deleted' ? 'NotFound' : 'Unknown',
          message: REFUSALS[`${operation} ${status}`] ?? `cannot ${operation} a ${status} process`,
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
