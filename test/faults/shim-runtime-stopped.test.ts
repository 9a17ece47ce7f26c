// tsrunc is stopped at some moment in the middle of an exec: the shim goes on, other execs do not notice, and it ends as
// it would have.
import assert from 'node:assert/strict';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
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

/** A runtime that gets a signal so many milliseconds after it began `command`, if the file `arm` tells how many. */
function interruptedRuntime(daemon: PlayedDaemon, command: string, signal: string) {
  const [program, arm, pid] = ['stub-runtime', 'arm', 'pid'].map((name) => {
    return join(daemon.directory, name);
  }) as [string, string, string];
  const interrupt = `{ sleep $(cat ${arm}); kill -${signal} $$; } </dev/null >/dev/null 2>&1 &`;
  writeFileSync(
    program,
    `#!/bin/sh
case " $* " in *" ${command} "*) [ -e ${arm} ] && { echo $$ >${pid}; ${interrupt} };; esac
exec ${runtimeProgram('tsrunc')} "$@"
`,
  );
  chmodSync(program, 0o755);
  return { program, arm, pid };
}

interface Stopped {
  readonly id: string;
  readonly exec: Promise<string>;
  readonly pid: number;
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

test('tsrunc stopped at any moment of exec holds up nothing but that exec', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await makeShim(daemon);
  const { program, arm, pid } = interruptedRuntime(daemon, 'exec', 'STOP');
  shim.binary = program;
  await shim.create();
  await shim.start();
  /** An exec whose tsrunc is stopped after so many milliseconds, or earlier if it was done by then. */
  const stop = async (id: string, ms: number): Promise<Stopped> => {
    writeFileSync(arm, `${ms / 1000}`);
    rmSync(pid, { force: true });
    let isDone = false;
    const exec = shim.exec(id, ['/bin/sh', '-c', 'exit 5']).then(
      () => 'started',
      (error: Error) => error.message,
    );
    void exec.then(() => {
      isDone = true;
    });
    await until(() => isDone || isStopped(pid), `tsrunc to stop after ${ms} ms`);
    rmSync(arm);
    if (!isDone) return { id, exec, pid: Number(readFileSync(pid, 'utf8')) };
    assert.equal(await exec, 'started');
    return stop(`${id}-again`, ms / 2);
  };
  for (const [index, ms] of [5, 15, 25].entries()) {
    const stopped = await stop(`s${index}`, ms);
    await shim.exec(`o${index}`, ['/bin/sh', '-c', 'exit 3']);
    assert.equal(await shim.wait(`o${index}`), 3);
    process.kill(stopped.pid, 'SIGCONT');
    assert.equal(await stopped.exec, 'started');
    assert.equal(await shim.wait(stopped.id), 5, 'it goes on where it was stopped');
  }
  await end(shim);
});

function isStopped(pidFile: string): boolean {
  try {
    const pid = readFileSync(pidFile, 'utf8').trim();
    return pid !== '' && /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false; // it has not begun yet, or has ended
  }
}
