// Commands in every state of a container, under runc and under tsrunc: the exit status, what is printed, and the state that
// the container is in afterwards are the same.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { skipTwins as skip, Twins } from '../fixtures/twins.ts';

const twins = (skip === false ? new Twins() : undefined) as Twins;
after(() => twins?.[Symbol.dispose]());

/** What leads to each state, ID being the container's. */
const WAYS: Readonly<Record<string, readonly string[]>> = {
  created: ['create ID'],
  'created, then paused': ['create ID', 'pause ID'],
  'created, paused, then resumed': ['create ID', 'pause ID', 'resume ID'],
  running: ['create ID', 'start ID'],
  paused: ['create ID', 'start ID', 'pause ID'],
  stopped: ['create ID', 'start ID', 'kill ID KILL'],
  'paused, then killed': ['create ID', 'start ID', 'pause ID', 'kill ID KILL'],
  'created, then killed': ['create ID', 'kill ID KILL'],
};

/** One after the other: the last ones find the container in the state that those before have left. */
const COMMANDS = [
  ...['ps --format json ID', 'ps ID', 'kill ID WINCH', 'exec ID true', 'update --pids-limit 9 ID'],
  ...['start ID', 'resume ID', 'delete ID', 'pause ID', 'delete --force ID'],
];

const words = (line: string, id: string) =>
  line.split(' ').map((word) => (word === 'ID' ? id : word));

interface Outcome {
  readonly command: string;
  readonly status: number | null;
  readonly stdout: string;
  readonly isRefused: boolean;
  /** The container's, or nothing where there is none. */
  readonly state: string;
}

function stateOf(runtime: RuntimeFixture, id: string): string {
  const { status, stdout } = runtime.run(['state', id]);
  return status === 0 ? (JSON.parse(stdout).status as string) : '';
}

/** Makes a container, leads it a way, and runs the commands on it. */
function walk(runtime: RuntimeFixture, way: readonly string[]): Outcome[] {
  const id = runtime.newId(runtime === twins.tsrunc ? 'ours' : 'theirs'); // names of cgroups too
  for (const line of way) {
    const { status, error } = runtime.runDetached(words(line, id));
    assert.equal(status, 0, `${runtime.command}: ${line}: ${error}`);
    const isKilled = line.endsWith('KILL');
    for (let tries = 0; isKilled && stateOf(runtime, id) !== 'stopped'; tries++) {
      assert.ok(tries < 1000, 'it has ended');
    }
  }
  return COMMANDS.map((command) => {
    const { status, stdout, error } = runtime.run(words(command, id));
    return {
      command,
      status,
      stdout: stdout
        .replaceAll(/\S*runc init/g, 'INIT')
        .replaceAll(/\b\d[\d:]*\b/g, 'N')
        .replaceAll(/ +/g, ' '),
      isRefused: error !== '',
      state: stateOf(runtime, id),
    };
  });
}

for (const [name, way] of Object.entries(WAYS)) {
  test(`life twins: ${name}`, { skip }, () => {
    const [ours, theirs] = twins.both.map((runtime) => {
      runtime.configure((config) => {
        config.process.args = ['sleep', '1000'];
      });
      return walk(runtime, way);
    });
    assert.deepEqual(ours, theirs);
  });
}
