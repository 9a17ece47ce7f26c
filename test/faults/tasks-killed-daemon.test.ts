// The daemon is killed at every step of creating, starting and deleting a task. The next one must leave nothing of what
// was not finished, and lose nothing of what was (containerd issues 6860, 6771, 5708).
//
// The steps are those at which somebody else's program runs: a script in the place of the shim or of the runtime kills
// the daemon and then goes on as if nothing had happened.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Status } from '../../internal/api/generated/containerd.v1.types.ts';
import { skipWithout } from '../fixtures/daemon.ts';
import { type ShimKind, shimKinds, TaskBench } from '../fixtures/tasks.ts';

/** Kills the daemon whose pid is in the file, once. */
const KILL = 'kill -9 $(cat "$PIDFILE"); rm -f "$ARMED"';

interface Step {
  readonly name: string;
  /** Which program does it, when called with which verb. */
  readonly program: 'shim' | 'runtime';
  readonly verb: string;
  /** What it does then; $REAL is the real program. */
  readonly script: string;
}

const RUNTIME_CREATES: Step = {
  name: 'while the runtime creates',
  program: 'runtime',
  verb: 'create',
  script: `${KILL}; exec "$REAL" "$@"`,
};

const CREATE_STEPS: Step[] = [
  { name: 'before the shim starts', program: 'shim', verb: 'start', script: `${KILL}; exit 1` },
  {
    name: 'while the shim starts',
    program: 'shim',
    verb: 'start',
    script: `${KILL}; exec "$REAL" "$@"`,
  },
  {
    name: 'when the shim serves and has not said so',
    program: 'shim',
    verb: 'start',
    script: `answer=$("$REAL" "$@"); ${KILL}; printf %s "$answer"`,
  },
  {
    name: 'when the shim has said that it serves',
    program: 'shim',
    verb: 'start',
    script: `"$REAL" "$@"; ${KILL}`,
  },
  RUNTIME_CREATES,
  {
    name: 'when the runtime has failed to create',
    program: 'runtime',
    verb: 'create',
    script: `${KILL}; exit 1`,
  },
  {
    name: 'when the runtime has created',
    program: 'runtime',
    verb: 'create',
    script: `"$REAL" "$@"; status=$?; ${KILL}; exit $status`,
  },
];

/**
 * Seen with the shim of runc at this step, not each time: empty cgroups of the container are left in some
 * hierarchies, and nothing else. Presumably its `runc create` ends half-way, before runc has written down what
 * its `delete` would remove. Our own shim and runtime must leave none.
 */
function isKilledRunc(kind: ShimKind, step: Step): boolean {
  return kind.name.startsWith('containerd-shim-runc-v2') && step === RUNTIME_CREATES;
}

/** Removes the cgroups among what was left, and returns the rest. */
function withoutCgroups(left: readonly string[]): string[] {
  const isCgroup = (path: string) => path.startsWith('/sys/fs/cgroup/');
  for (const path of left.filter(isCgroup)) rmdirSync(path);
  return left.filter((path) => !isCgroup(path));
}

for (const kind of shimKinds().filter(({ name }) => !/1\.6|with tsrunc|in-process/.test(name))) {
  const skip = skipWithout('tscontainerd') || kind.skip;

  for (const step of CREATE_STEPS) {
    test(`${kind.name}: killed ${step.name}: nothing is left`, { skip }, async () => {
      await using bench = await Sabotage.start(kind, step);
      const { task } = bench;
      await task.makeContainer('half', { args: ['/bin/sleep', '1000'], runtime: bench.runtime });
      bench.arm();
      await assert.rejects(task.createTask('half'));
      await task.restart();
      const left = await task.leftoversAfter('half');
      assert.deepEqual(isKilledRunc(kind, step) ? withoutCgroups(left) : left, []);
      assert.deepEqual((await task.tasks.list({})).tasks, []);
      // The id is free: the same container gets its task.
      await task.createTask('half');
      await task.tasks.delete({ containerId: 'half' });
      assert.deepEqual(await task.leftoversAfter('half'), []);
    });
  }

  test(`${kind.name}: killed while the runtime starts: the task is there`, { skip }, async () => {
    const script = `${KILL}; exec "$REAL" "$@"`;
    await using bench = await Sabotage.start(kind, {
      name: 'start',
      program: 'runtime',
      verb: 'start',
      script,
    });
    const { task } = bench;
    await task.makeContainer('whole', { args: ['/bin/sleep', '1000'], runtime: bench.runtime });
    const pid = await task.createTask('whole');
    bench.arm();
    await assert.rejects(task.tasks.start({ containerId: 'whole' }));
    await task.restart();
    const found = (await task.tasks.get({ containerId: 'whole' })).process;
    assert.equal(found?.pid, pid);
    // What becomes of a start whose caller is gone is the shim's affair: that of runc ends the task.
    assert.ok(found !== undefined && found.status !== Status.UNKNOWN);
    if (found.status !== Status.STOPPED) {
      await task.tasks.kill({ containerId: 'whole', signal: 9, all: true });
    }
    assert.equal((await task.tasks.wait({ containerId: 'whole' })).exitStatus, 137);
    await task.tasks.delete({ containerId: 'whole' });
    assert.deepEqual(await task.leftoversAfter('whole'), []);
  });

  test(`${kind.name}: killed while the runtime deletes: nothing is left`, { skip }, async () => {
    const script = `${KILL}; exec "$REAL" "$@"`;
    await using bench = await Sabotage.start(kind, {
      name: 'delete',
      program: 'runtime',
      verb: 'delete',
      script,
    });
    const { task } = bench;
    await task.makeContainer('done', { args: ['/bin/true'], runtime: bench.runtime });
    await task.createTask('done');
    await task.tasks.start({ containerId: 'done' });
    await task.tasks.wait({ containerId: 'done' });
    bench.arm();
    await assert.rejects(task.tasks.delete({ containerId: 'done' }));
    await task.restart();
    // Whether the shim had finished is a matter of moments: a client that asks again must get there.
    await task.tasks.delete({ containerId: 'done' }).catch((error) => assert.equal(error.code, 5));
    assert.deepEqual(await task.leftoversAfter('done'), []);
    assert.deepEqual((await task.tasks.list({})).tasks, []);
  });
}

/** A task bench whose shim or runtime kills the daemon when armed. */
class Sabotage implements AsyncDisposable {
  readonly task: TaskBench;
  /** The runtime to ask for: that of the script, if the script stands for the shim. */
  readonly runtime: string;
  readonly #directory: string;

  private constructor(task: TaskBench, runtime: string, directory: string) {
    this.task = task;
    this.runtime = runtime;
    this.#directory = directory;
  }

  static async start(kind: ShimKind, step: Step): Promise<Sabotage> {
    const directory = mkdtempSync(join(tmpdir(), 'sabotage-'));
    const find = (name: string): string => {
      const env = { PATH: kind.path };
      return execFileSync('/bin/sh', ['-c', `command -v ${name}`], {
        env,
        encoding: 'utf8',
      }).trim();
    };
    const isShim = step.program === 'shim';
    const shimName = `containerd-shim-${kind.runtime.split('.').slice(-2).join('-')}`;
    const real = isShim ? find(shimName) : kind.binaryName || find('runc');
    const path = join(directory, isShim ? 'containerd-shim-sabotage-v2' : 'runtime');
    writeFileSync(
      path,
      `#!/bin/sh
       REAL=${real} PIDFILE=${directory}/pid ARMED=${directory}/armed
       for arg; do [ "$arg" = ${step.verb} ] && [ -e "$ARMED" ] && { ${step.script}; exit; }; done
       exec "$REAL" "$@"
      `,
    );
    chmodSync(path, 0o755);
    const sabotaged = isShim ? kind : { ...kind, binaryName: path };
    const task = await TaskBench.start(sabotaged, directory);
    const runtime = isShim ? 'io.containerd.sabotage.v2' : kind.runtime;
    return new Sabotage(task, runtime, directory);
  }

  arm(): void {
    writeFileSync(join(this.#directory, 'pid'), `${this.task.daemon.process.pid}`);
    writeFileSync(join(this.#directory, 'armed'), '');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(join(this.#directory, 'armed'), { force: true });
    await this.task[Symbol.asyncDispose]();
    rmSync(this.#directory, { recursive: true });
  }
}
