// `ctr run`, `ctr tasks` and `ctr events` of Debian, unmodified, against our daemon: what a person types and sees.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { skipWithout } from '../fixtures/daemon.ts';
import { shimKinds, TaskBench, unmountedHierarchies } from '../fixtures/tasks.ts';
import { peer } from '../peers/index.ts';

const CTRS = ['ctr-2.1', 'ctr-1.6'] as const;
const KINDS = shimKinds().filter(({ name }) => !/1\.6|with tsrunc|in-process/.test(name));

for (const version of CTRS) {
  for (const kind of KINDS) {
    const skip = skipWithout('tscontainerd') || kind.skip || peer(version).skip;
    const name = `${version}, ${kind.name}`;

    test(`${name}: run --rm shows output and hands the exit code on`, { skip }, async () => {
      await using at = await start(version, kind);
      const script = 'echo out; echo err >&2; exit 3';
      const result = at.ctr(['run', '--rm', ...at.container('one'), '/bin/sh', '-c', script]);
      assert.equal(result.stdout, 'out\n');
      assert.match(result.stderr, /^err\n/);
      assert.equal(result.status, 3);
      assert.deepEqual(await at.bench.leftoversAfter('one'), []);
      const echo = at.ctr(
        ['run', '--rm', ...at.container('two'), '/bin/head', '-n', '1'],
        'through stdin\n',
      );
      assert.deepEqual([echo.status, echo.stdout], [0, 'through stdin\n']);
    });

    test(`${name}: run -d, tasks ls, ps, exec, kill, delete`, { skip }, async (t) => {
      await using at = await start(version, kind);
      const started = at.ctr(['run', '-d', ...at.container('web'), '/bin/sleep', '1000']);
      assert.equal(started.status, 0, started.stderr);
      assert.match(at.ctr(['tasks', 'ls']).stdout, /^web +\d+ +RUNNING/m);
      assert.match(at.ctr(['tasks', 'ps', 'web']).stdout, /^PID +INFO\n\d+ /);
      const exec = ['tasks', 'exec', '--exec-id', 'e', 'web', '/bin/sh', '-c', 'echo in; exit 7'];
      const executed = at.ctr(exec);
      assert.deepEqual([executed.status, executed.stdout], [7, 'in\n']);
      assert.equal(at.ctr(['tasks', 'pause', 'web']).status, 0);
      assert.match(at.ctr(['tasks', 'ls']).stdout, /^web +\d+ +PAUSED/m);
      assert.equal(at.ctr(['tasks', 'resume', 'web']).status, 0);
      const metrics = at.ctr(['tasks', 'metrics', 'web']);
      const hidden = unmountedHierarchies();
      if (hidden.length === 0) assert.match(metrics.stdout, /^web +/m, metrics.stderr);
      else t.diagnostic(`not measured: the shim of runc wants ${hidden.join(', ')} mounted`);
      assert.match(at.ctr(['tasks', 'delete', 'web']).stderr, /running/);
      assert.equal(at.ctr(['tasks', 'kill', '--signal', 'SIGKILL', 'web']).status, 0);
      await at.bench.tasks.wait({ containerId: 'web' });
      assert.match(at.ctr(['tasks', 'ls']).stdout, /^web +\d+ +STOPPED/m);
      at.ctr(['tasks', 'delete', 'web']);
      assert.doesNotMatch(at.ctr(['tasks', 'ls']).stdout, /web/);
      assert.equal(at.ctr(['containers', 'rm', 'web']).status, 0);
      assert.deepEqual(await at.bench.leftoversAfter('web'), []);
      assert.match(at.ctr(['tasks', 'kill', 'web']).stderr, /container "web" .*not found/);
    });

    const terminalSkip = skip || (existsSync('/usr/bin/script') ? false : 'no program "script"');
    test(`${name}: run -t has a terminal`, { skip: terminalSkip }, async () => {
      await using at = await start(version, kind);
      const args = ['run', '--rm', '-t', ...at.container('tty'), '/bin/tty'];
      const { path, env } = peer(version);
      const line = [path, '-n', at.bench.namespace, '-a', at.bench.daemon.address, ...args];
      const options = ['-qec', line.join(' '), '/dev/null'] as const;
      const result = spawnSync('/usr/bin/script', options, { env, encoding: 'utf8', input: '' });
      assert.match(result.stdout, /\/dev\/pts\/0/);
      assert.equal(result.status, 0);
    });

    test(`${name}: run of a program that is not there says which`, { skip }, async () => {
      await using at = await start(version, kind);
      const result = at.ctr(['run', '--rm', ...at.container('nope'), '/bin/nope']);
      assert.match(result.stderr, /\/bin\/nope/);
      assert.equal(result.status, 1);
      assert.deepEqual(await at.bench.leftoversAfter('nope'), []);
    });
  }
}

/** A daemon and the arguments that `ctr run` needs for a container of its root file system. */
async function start(version: (typeof CTRS)[number], kind: (typeof KINDS)[number]) {
  const bench = await TaskBench.start(kind);
  return {
    bench,
    ctr: (args: string[], input?: string) =>
      bench.daemon.ctr(version, ['--namespace', bench.namespace, ...args], input),
    container: (id: string): string[] => [
      ...['--runtime', kind.runtime, '--cgroup', `tasks-${process.pid}-${id}`],
      ...['--rootfs', join(bench.daemon.directory, 'rootfs'), id],
    ],
    [Symbol.asyncDispose]: () => bench[Symbol.asyncDispose](),
  };
}
