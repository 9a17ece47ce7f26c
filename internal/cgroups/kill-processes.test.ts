import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { TsError } from '../errors/index.ts';
import { type Operation, runBlocking } from '../linux/index.ts';
import { type Killable, killProcesses } from './kill-processes.ts';

/** A cgroup whose processes are sleeps; each list but the last shows one that was just forked. */
class ForkingCgroup implements Killable {
  readonly children = [spawn('sleep', ['1000'])];
  readonly calls: string[] = [];
  readonly #freezeError: TsError | undefined;
  #forksLeft = 2;
  #isFrozen = false;

  constructor(freezeError?: TsError) {
    this.#freezeError = freezeError;
  }

  allPids(): number[] {
    this.calls.push('list');
    if (!this.#isFrozen && this.#forksLeft-- > 0) this.children.push(spawn('sleep', ['1000']));
    const alive = this.#isFrozen || this.#forksLeft >= 0 ? this.children : [];
    return alive.map(({ pid }) => pid ?? 0);
  }

  // biome-ignore lint/correctness/useYield: it is done at once
  *freeze(): Operation<void> {
    this.calls.push('freeze');
    if (this.#freezeError !== undefined) throw this.#freezeError;
    this.#isFrozen = true;
  }

  isFrozen(): boolean {
    return this.#isFrozen;
  }

  thaw(): void {
    this.calls.push('thaw');
    this.#isFrozen = false;
  }

  async signals(): Promise<(string | null)[]> {
    const exits = this.children.map(async (child) => {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      return child.signalCode;
    });
    return Promise.all(exits);
  }
}

test('killProcesses: frozen, one list is enough', async () => {
  const cgroup = new ForkingCgroup();
  runBlocking(killProcesses(cgroup));
  assert.deepEqual(cgroup.calls, ['freeze', 'list', 'thaw']);
  assert.deepEqual(await cgroup.signals(), ['SIGKILL']);
});

for (const error of [
  new TsError('DeadlineExceeded', 'freeze: too slow'),
  new TsError('FailedPrecondition', 'freeze: no freezer'),
]) {
  test(`killProcesses: lists until nothing is left, ${error.message}`, async () => {
    const cgroup = new ForkingCgroup(error);
    runBlocking(killProcesses(cgroup));
    assert.equal(cgroup.calls.filter((call) => call === 'list').length, 3);
    assert.deepEqual(await cgroup.signals(), ['SIGKILL', 'SIGKILL', 'SIGKILL']);
  });
}

test('killProcesses: another error of freezing is not hidden', async () => {
  const cgroup = new ForkingCgroup(TsError.ofErrno(5, 'write "FROZEN" to x'));
  assert.throws(() => runBlocking(killProcesses(cgroup)), {
    message: 'write "FROZEN" to x: EIO',
  });
  cgroup.children[0]?.kill('SIGKILL');
  await cgroup.signals();
});
