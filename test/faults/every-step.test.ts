// A failure at every single step of create, run and exec, one after the other: each ends in an error that names the step and
// the errno, and afterwards processes, fds, mounts, cgroups and the state directory are as before.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { cgroupsNamed, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import type { Try } from './every-step.fixture.ts';

const runtime = (needsRoot === false ? new RuntimeFixture() : undefined) as RuntimeFixture;
const sleeping = (needsRoot === false ? new RuntimeFixture() : undefined) as RuntimeFixture;
const id = needsRoot === false ? sleeping.newId('every-step') : '';
before(() => {
  if (needsRoot !== false) return;
  runtime.configure();
  sleeping.startSleeping(id);
});
after(() => {
  if (needsRoot !== false) return;
  runtime[Symbol.dispose]();
  sleeping[Symbol.dispose]();
});

/** Runs the fixture for a command; what its containers say goes nowhere. */
async function tryAll(...args: string[]): Promise<Try[]> {
  const fixture = join(import.meta.dirname, 'every-step.fixture.ts');
  const child = spawn(process.execPath, [fixture, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr] = await Promise.all([child.stdout.toArray(), child.stderr.toArray()]);
  const status = child.exitCode ?? (await new Promise((resolve) => child.on('exit', resolve)));
  assert.equal(status, 0, Buffer.concat(stderr).toString().slice(-2000));
  return JSON.parse(Buffer.concat(stdout).toString());
}

const COMMANDS = [
  { command: 'create', failure: 1, atLeast: 200 },
  { command: 'run', failure: 1, atLeast: 200 },
  { command: 'exec', failure: 255, atLeast: 80 },
];

/**
 * Between `ready` and `start` nobody listens: a container that fails there is found to be dead, or, if it dies while it is
 * being started, has ended with status 1 like a program that was killed then.
 */
function isFoundDead({ expected, status, error, leftovers }: Try): boolean {
  const isBetween =
    /^(?:wait for the runtime: end of create|duplicate an fd|wait for start): E/.test(expected);
  const isDead =
    status === 0 || error === '' || /: cannot start|^the container process died/.test(error);
  return isBetween && isDead && leftovers.length === 0;
}

test('a failure at every step', { skip: needsRoot, concurrency: true }, async (t) => {
  await Promise.all(
    COMMANDS.map(({ command, failure, atLeast }) =>
      t.test(command, async () => {
        const place = command === 'exec' ? sleeping : runtime;
        const root = command === 'exec' ? place.stateRoot : join(place.directory, command);
        const args = [command, place.bundle, root, ...(command === 'exec' ? [id] : [])];
        const processes = () => sleeping.run(['ps', '--format', 'json', id]).stdout;
        const inContainer = processes();
        const tries = await tryAll(...args);
        assert.ok(tries.length >= atLeast, `${tries.length} steps`);
        const wrong = tries.filter((each) => {
          const { errno, status, error, expected, leftovers } = each;
          const isTold = status === failure && error.startsWith(expected);
          const isRight = isTold || (errno === undefined && status === 0) || isFoundDead(each);
          return !isRight || error.includes('clean-up') || leftovers.length > 0;
        });
        assert.deepEqual(wrong, []);
        assert.equal(processes(), inContainer, 'no process of an exec is left');
        t.diagnostic(`${command}: ${tries.length} steps`);
      }),
    ),
  );
  assert.deepEqual(cgroupsNamed('every-step'), []);
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  assert.ok(!mounts.includes(runtime.directory), 'no mount is left');
});
