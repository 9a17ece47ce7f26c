import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { ContainerConfig } from '../api/generated/runtime.v1.ts';
import { type ErrorKind, TsError } from '../errors/index.ts';
import { Container } from './container.ts';
import type { ContainerState } from './cri-records.ts';
import { whileRunning } from './while-running.ts';

/** A container that runs, as this process. */
function running(): Container {
  const state = { startedAt: 1n, finishedAt: 0n } as ContainerState;
  const container = new Container('one', ContainerConfig.create(), state);
  container.pid = process.pid;
  return container;
}

const end = (container: Container): void => {
  container.state = { ...container.state, finishedAt: 2n };
};

const kill = (container: Container): void => {
  container.isKilled = true;
};

const late = 'container one: not running any more: what the runtime says';
const ROWS: readonly [
  what: string,
  fails: ErrorKind,
  meanwhile: (of: Container) => void,
  told: ErrorKind,
][] = [
  ['nothing happens', 'Unknown', () => undefined, 'Unknown'],
  ['it ends', 'Unknown', end, 'FailedPrecondition'],
  ['it ends, and the connection with it', 'Canceled', end, 'FailedPrecondition'],
  ['it is killed', 'Internal', kill, 'FailedPrecondition'],
  ['it ends, but the error says more', 'NotFound', end, 'NotFound'],
  ['it ends, but the deadline was before', 'DeadlineExceeded', end, 'DeadlineExceeded'],
];
for (const [what, fails, meanwhile, told] of ROWS) {
  test(`whileRunning: ${what}: ${fails} is ${told}`, async () => {
    const container = running();
    const call = async (): Promise<never> => {
      meanwhile(container);
      throw new TsError(fails, 'what the runtime says');
    };
    const message = told === 'FailedPrecondition' ? late : 'what the runtime says';
    await assert.rejects(whileRunning(container, call), { kind: told, message });
  });
}

test('whileRunning: a process that is dead, and of which nobody has heard yet', async () => {
  const child = spawn('sleep', ['1000']);
  await once(child, 'spawn');
  const container = running();
  container.pid = child.pid ?? 0;
  const call = async (): Promise<never> => {
    child.kill('SIGKILL');
    await once(child, 'exit');
    throw new TsError('Unknown', 'what the runtime says');
  };
  await assert.rejects(whileRunning(container, call), {
    kind: 'FailedPrecondition',
    message: late,
  });
});

test('whileRunning: a container that does not run is not called', async () => {
  const container = running();
  end(container);
  const call = (): Promise<never> => assert.fail('called');
  const message = 'container one: not running';
  await assert.rejects(whileRunning(container, call), { kind: 'FailedPrecondition', message });
});

test('whileRunning: what a call gives', async () => {
  assert.equal(await whileRunning(running(), async () => 7), 7);
});
