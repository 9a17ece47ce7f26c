// The same bundle under runc and under tsrunc: a probe inside tells all that it can see, and the two tell the same, in
// the container's first process and in one that exec puts there.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { readToEnd, withConsole } from '../fixtures/console.ts';
import type { Config, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { createWithAgent, notifyOfMkdir, type Seen, withAgent } from '../fixtures/seccomp-agent.ts';
import { TWIN_BUNDLES } from '../fixtures/twin-bundles.ts';
import { PROBE, skipTwins as skip, Twins } from '../fixtures/twins.ts';

const options = { skip };
const twins = (skip === false ? new Twins() : undefined) as Twins;
after(() => twins?.[Symbol.dispose]());

for (const [what, change] of TWIN_BUNDLES) {
  test(`twins: ${what}`, options, () => {
    const pair = twins.both.map((runtime) => {
      const id = runtime.newId();
      runtime.configure((config) => {
        config.process.args = ['sh', '-c', PROBE];
        change(config, runtime);
      });
      const outcome = runtime.run(['run', id]);
      assert.equal(outcome.error, '', `${runtime.command}`);
      return outcome.stdout;
    });
    twins.compare(...(pair as [string, string]));
  });

  test(`twins in exec: ${what}`, options, () => {
    const pair = twins.both.map((runtime) => {
      const id = runtime.newId();
      runtime.startSleeping(id, (config) => change(config, runtime));
      const outcome = runtime.run(['exec', id, 'sh', '-c', PROBE]);
      runtime.run(['delete', '--force', id]);
      assert.equal(outcome.error, '', `${runtime.command}`);
      return outcome.stdout;
    });
    twins.compare(...(pair as [string, string]));
  });
}

const NOTIFIED = `mkdir /tmp/x 2>&1; echo "status $?"; ${PROBE}`;

/** What an agent was told, without what is a container's own, and the version of the specification. */
function told({ state, calls }: Seen, runtime: RuntimeFixture, id: string): object {
  const pids: number[] = [];
  const text = JSON.stringify({ state, calls: calls.length }, (key, value) => {
    if (key === 'ociVersion') return 'VERSION';
    if (key !== 'pid') return value;
    if (!pids.includes(value)) pids.push(value);
    return `PID ${pids.indexOf(value)}`; // whether both are of one process stays
  });
  return JSON.parse(text.replaceAll(id, 'ID').replaceAll(runtime.directory, 'DIRECTORY'));
}

for (const inExec of [false, true]) {
  test(`twins${inExec ? ' in exec' : ''}: seccomp with an agent that is notified`, {
    skip: skip || (process.arch !== 'x64' ? 'numbers of x86-64' : false),
  }, async () => {
    const pair: { said: string; told: object; first: string[] }[] = [];
    for (const runtime of twins.both) {
      const id = runtime.newId();
      runtime.configure((config) => {
        config.process.args = inExec ? ['sleep', '1000'] : ['sh', '-c', NOTIFIED];
        config.annotations = { 'a.key': 'a value' };
        // runc 1.3 of Debian knows none of the flags that are for listeners.
        config.linux.seccomp = { ...notifyOfMkdir(runtime), flags: [] };
      });
      if (inExec) {
        createWithAgent(runtime, id);
        assert.equal(runtime.run(['start', id]).error, '');
      }
      const args = inExec ? ['exec', id, 'sh', '-c', NOTIFIED] : ['run', id];
      const { stdout, stderr, ...seen } = await withAgent(runtime, args);
      if (inExec) runtime.run(['delete', '--force', id]);
      const [first = '', ...rest] = stdout.split('@');
      assert.match(first, /status 1$/m, stderr);
      pair.push({
        said: `@${rest.join('@')}`,
        told: told(seen, runtime, id),
        first: first.split('\n'),
      });
    }
    const [one, other] = pair as [(typeof pair)[0], (typeof pair)[0]];
    twins.compare(one.said, other.said);
    assert.deepEqual(one.told, other.told);
    assert.deepEqual(one.first, other.first);
  });
}

/** Of the terminal alone; then what the probe says by way of it. */
const AT_TERMINAL = `tty; stty -a; ls -ln /dev/console; ls /dev/pts; ${PROBE}`;

for (const inExec of [false, true]) {
  test(`twins${inExec ? ' in exec' : ''}: a terminal`, options, async () => {
    const pair: { first: string; said: string }[] = [];
    for (const runtime of twins.both) {
      const id = runtime.newId();
      const terminal = ({ process }: Config) => {
        process.terminal = true;
        process.consoleSize = { height: 33, width: 77 };
        process.args = ['sh', '-c', AT_TERMINAL];
      };
      if (inExec) runtime.startSleeping(id);
      else runtime.configure(terminal);
      using master = await withConsole(runtime, (path) =>
        inExec
          ? [
              ...['exec', '--detach', '--tty', '--console-socket', path, id],
              ...['sh', '-c', AT_TERMINAL],
            ]
          : ['create', '--console-socket', path, id],
      );
      if (!inExec) assert.equal(runtime.run(['start', id]).error, '');
      const text = (await readToEnd(master)).replaceAll('\r', '');
      runtime.run(['delete', '--force', id]);
      const at = text.indexOf('@');
      // The date of the terminal's node.
      const first = text.slice(0, at).replace(/\w{3} +\d+ \d\d:\d\d/, 'DATE');
      pair.push({ first, said: text.slice(at) });
    }
    const [one, other] = pair as [(typeof pair)[0], (typeof pair)[0]];
    assert.equal(one.first, other.first);
    assert.match(one.first, /^\/dev\/pts\/0$/m);
    twins.compare(one.said, other.said);
  });
}
