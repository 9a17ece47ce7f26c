// tsrunc is killed at any moment of a create: what it had begun is taken back, and nothing is left on the machine.
import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { traces } from '../demo/workspace.ts';
import {
  bundleSpec,
  PlayedDaemon,
  runtimeProgram,
  type Shim,
  skipWithout,
  until,
} from '../fixtures/shim.ts';

const SIGKILL = 9;
const skip = skipWithout('tsrunc');
/** Parts of the time that the command takes, after which it is interrupted. */
const MOMENTS = [0.1, 0.3, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1];
/** How often the command's time is measured: the shortest counts, for others use the machine, too. */
const MEASUREMENTS = 4;
/** How often the moments are gone through, each time much earlier ones, until one was not too late. */
const ROUNDS = 5;

/** A runtime that is killed so many seconds after it began to create, if the file `arm` tells how many. */
function mortalRuntime(daemon: PlayedDaemon) {
  const program = join(daemon.directory, 'mortal-runtime');
  const arm = join(daemon.directory, 'arm');
  const death = `{ sleep $(cat ${arm}); kill -KILL $$; } </dev/null >/dev/null 2>&1 &`;
  writeFileSync(
    program,
    `#!/bin/sh
case " $* " in *" create "*) [ -e ${arm} ] && ${death};; esac
exec ${runtimeProgram('tsrunc')} "$@"
`,
  );
  chmodSync(program, 0o755);
  return { program, arm };
}

/** A container whose cgroup has the name of the daemon's directory, so that it is found. */
async function makeShim(daemon: PlayedDaemon): Promise<Shim> {
  const args = ['/bin/sleep', '1000'];
  const spec = bundleSpec('c1', args) as { linux: object };
  const cgroupsPath = `/${basename(daemon.directory)}/c1`;
  return daemon.shim(args, { runtime: 'tsrunc' }, { linux: { ...spec.linux, cgroupsPath } });
}

async function end(shim: Shim): Promise<void> {
  await shim.task.kill({ id: shim.id, signal: SIGKILL });
  assert.equal(await shim.wait(), 137);
  await shim.finish();
}

function childrenOf(shim: Shim): number {
  const text = readFileSync(`/proc/${shim.pid}/task/${shim.pid}/children`, 'utf8');
  return text.split(' ').filter(Boolean).length;
}

/** A create that is killed, or is not in time: either leaves nothing. */
async function createAndLook(daemon: PlayedDaemon, shim: Shim, when: string): Promise<string> {
  const outcome = await shim.create().then(
    () => 'created',
    (error: Error) => error.message,
  );
  if (outcome === 'created') await shim.task.delete({ id: 'c1' });
  else assert.equal(outcome, 'OCI runtime create failed: killed by SIGKILL', when);
  const where = `${when}: ${outcome}`;
  // The one who kills is among them: while it is there, it has not yet done so.
  await until(() => childrenOf(shim) === 0, `no child to be left, ${where}`);
  const { mounts, cgroups } = traces(daemon.directory);
  const containers = cgroups.filter((path) => path.endsWith('/c1'));
  assert.deepEqual({ mounts, containers }, { mounts: [], containers: [] }, where);
  assert.equal(existsSync(join(daemon.directory, 'runtime/default/c1')), false, where);
  return outcome === 'created' ? outcome : 'killed';
}

test('tsrunc killed at any moment of create leaves nothing, or a whole container', {
  skip,
}, async (t) => {
  await using daemon = await PlayedDaemon.start();
  const shim = await makeShim(daemon);
  const { program, arm } = mortalRuntime(daemon);
  shim.binary = program;
  await shim.create(); // warm
  await shim.task.delete({ id: 'c1' });
  let wholeMs = Number.POSITIVE_INFINITY;
  for (let n = 0; n < MEASUREMENTS; n++) {
    const startMs = performance.now();
    await shim.create();
    wholeMs = Math.min(wholeMs, performance.now() - startMs);
    await shim.task.delete({ id: 'c1' });
  }
  const outcomes: string[] = [];
  for (let round = 0; round < ROUNDS && !outcomes.includes('killed'); round++) {
    for (const part of MOMENTS) {
      const ms = Math.round((part * wholeMs) / 4 ** round);
      writeFileSync(arm, `${ms / 1000}`);
      outcomes.push(await createAndLook(daemon, shim, `killed after ${ms} ms`));
    }
  }
  t.diagnostic(outcomes.join(' '));
  assert.ok(outcomes.includes('killed'), outcomes.join(' '));
  rmSync(arm);
  await shim.create();
  await shim.start();
  await end(shim);
});
