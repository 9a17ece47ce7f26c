import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TsError } from '../errors/index.ts';
import { grpcStatusOf } from './grpc-status.ts';

const CASES: [unknown, number, string][] = [
  [new TsError('NotFound', 'image "x"'), 5, 'image "x": not found'],
  [new TsError('NotFound', 'image "x": not found'), 5, 'image "x": not found'],
  [new TsError('NotFound', 'not found'), 5, 'not found'],
  [new TsError('NotFound', 'task web not found'), 5, 'task web not found'],
  [
    new TsError('FailedPrecondition', 'mount x: EBUSY', { advice: 'stop its users' }),
    9,
    'mount x: EBUSY: stop its users: failed precondition',
  ],
  [new TsError('Unauthenticated', 'pull x'), 16, 'pull x: unauthorized'],
  [new TsError('Canceled', 'context canceled'), 1, 'context canceled'],
  [new Error('odd'), 2, 'odd'],
  ['text', 2, 'text'],
  [
    Object.assign(new Error('x'), { code: 'ENOSPC', syscall: 'write' }),
    8,
    'write: ENOSPC: resource exhausted',
  ],
];

for (const [thrown, code, details] of CASES) {
  test(`grpcStatusOf: ${details}`, () => assert.deepEqual(grpcStatusOf(thrown), { code, details }));
}
