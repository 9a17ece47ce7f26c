// Commands of a pod's probes that start others beside themselves: what is answered when, and what is left of them.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { CriNode, skipCri } from '../fixtures/cri.ts';

describe('probes that start other processes', { skip: skipCri() }, () => {
  let node: CriNode;
  let id = '';
  before(async () => {
    node = await CriNode.start();
    ({ id } = await node.run('while :; do sleep 1; done'));
  });
  after(() => node[Symbol.asyncDispose]());

  const probe = (script: string, timeout = 60n) =>
    node.runtime.execSync({ containerId: id, cmd: ['/bin/sh', '-c', script], timeout });

  /** Processes of the container with this argument. */
  const running = async (argument: string): Promise<string[]> => {
    const { stdout } = await probe(
      `for each in /proc/[0-9]*; do tr "\\0" " " <$each/cmdline; echo; done 2>/dev/null`,
    );
    return Buffer.from(stdout)
      .toString()
      .split('\n')
      .filter((line) => line === `sleep ${argument} `);
  };

  const until = async (isSo: () => Promise<boolean> | boolean, what: () => string) => {
    const deadlineMs = performance.now() + 30_000;
    while (!(await isSo())) {
      assert.ok(performance.now() < deadlineMs, what());
      await delay(50); // there is no event for processes of others
    }
  };

  it('one that leaves a process with its output is answered when it ends itself', async () => {
    const { stdout, exitCode } = await probe('echo ready; sleep 1111 & exit 3');
    assert.deepEqual([Buffer.from(stdout).toString(), exitCode], ['ready\n', 3]);
    assert.deepEqual(await running('1111'), ['sleep 1111 '], 'it is not the probe any more');
  });

  it('one that takes too long is killed with all that it has started', async () => {
    await assert.rejects(
      probe('sleep 2222 & sh -c "sleep 2222 & sleep 2222" & sleep 2222', 1n),
      /exec "\/bin\/sh" in container [0-9a-f]+: timeout of 1 s exceeded/,
    );
    let left: string[] = [];
    await until(
      async () => {
        left = await running('2222');
        return left.length === 0;
      },
      () => `${left.length} are left`,
    );
  });

  it('a hundred of them leave no descriptor and no process', async () => {
    const { info } = await node.runtime.containerStatus({ containerId: id, verbose: true });
    const { pid } = JSON.parse(info.get('info') ?? '{}') as { pid: number };
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const shim = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
    const counts = () => ({
      daemon: readdirSync(`/proc/${node.daemon.process.pid}/fd`).length,
      shim: readdirSync(`/proc/${shim}/fd`).length,
      children: readFileSync(`/proc/${shim}/task/${shim}/children`, 'latin1').trim(),
    });
    await probe('sleep 0.1 &'); // what is opened once is open now
    const before = counts();
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 10 }, () => probe('sleep 0.1 &')));
    }
    let now = counts();
    await until(
      () => {
        now = counts();
        return (
          now.children === before.children && now.daemon <= before.daemon && now.shim <= before.shim
        );
      },
      () => `${JSON.stringify(before)} before, ${JSON.stringify(now)} after`,
    );
  });
});
