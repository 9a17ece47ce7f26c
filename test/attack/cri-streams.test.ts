// Attacks by the streams of the CRI: clients that break off again and again, and groups that a process must not have.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import WebSocket from 'ws';
import { CriNode, skipCri } from '../fixtures/cri.ts';

const ROUNDS = 40;
const AT_ONCE = 10;
const DEADLINE_MS = 120_000;

describe('streams of the CRI', { skip: skipCri(), timeout: 600_000 }, () => {
  let node: CriNode;
  let id: string;
  before(async () => {
    node = await CriNode.start();
    ({ id } = await node.run('while read line; do echo "$line"; done', { stdin: true }));
  });
  after(() => node?.[Symbol.asyncDispose]());

  const descriptors = (): number => readdirSync(`/proc/${node.daemon.process.pid}/fd`).length;
  /** Processes of the container, by the count of its cgroup's members in its own pid namespace. */
  const processes = async (): Promise<string[]> => {
    const { stdout } = await node.runtime.execSync({
      containerId: id,
      cmd: ['/bin/sh', '-c', 'for p in /proc/[0-9]*; do cat $p/comm 2>/dev/null; done'],
      timeout: 120n,
    });
    return Buffer.from(stdout).toString().trim().split('\n');
  };

  /** Repeats an attack, and waits until the daemon has no more descriptors than before it. */
  const leavesNothing = async (attack: () => Promise<void>): Promise<void> => {
    await attack(); // what is opened once and kept is there from now on
    await delay(0);
    const before = descriptors();
    for (let round = 0; round < ROUNDS; round += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, attack));
    }
    const deadline = performance.now() + DEADLINE_MS;
    while (descriptors() > before + 2) {
      assert.ok(performance.now() < deadline, `${descriptors()} descriptors, ${before} before`);
      await delay(50);
    }
  };

  const open = async (url: string): Promise<WebSocket> => {
    const socket = new WebSocket(url.replace('http:', 'ws:'), 'v5.channel.k8s.io');
    await once(socket, 'open');
    return socket;
  };

  it('attached clients that break off leave nothing', async () => {
    await leavesNothing(async () => {
      const { url } = await node.runtime.attach({
        ...{ containerId: id, stdin: true, stdout: true, stderr: true },
      });
      const socket = await open(url);
      socket.send(Buffer.from('\0x\n'));
      socket.terminate();
    });
  });

  it('commands whose clients break off end, terminals that are resized meanwhile too', async () => {
    await leavesNothing(async () => {
      const { url } = await node.runtime.exec({
        ...{ containerId: id, cmd: ['/bin/sleep', '1000'], tty: true },
        ...{ stdin: true, stdout: true },
      });
      const socket = await open(url);
      const size = (width: number) => Buffer.from(`\x04{"Width":${width},"Height":20}`);
      for (let width = 80; width < 90; width++) socket.send(size(width));
      socket.terminate();
    });
    const deadline = performance.now() + DEADLINE_MS;
    while ((await processes()).includes('sleep')) {
      assert.ok(performance.now() < deadline, 'a command runs on');
      await delay(50);
    }
  });

  it('URLs that nobody calls for leave nothing', async () => {
    await leavesNothing(async () => {
      await node.runtime.exec({ containerId: id, cmd: ['/bin/true'], stdout: true });
    });
  });

  it('the groups of a process, and of what is executed beside it, are those of the request', async () => {
    const { pod, id: other } = await node.run('grep ^Groups /proc/self/status; sleep 1000', {
      linux: {
        securityContext: {
          runAsUser: { value: 7n },
          runAsGroup: { value: 8n },
          supplementalGroups: [1234n],
        },
      },
    });
    const { stdout } = await node.runtime.execSync({
      containerId: other,
      cmd: ['/bin/grep', '^Groups', '/proc/self/status'],
      timeout: 120n,
    });
    assert.equal(Buffer.from(stdout).toString(), 'Groups:\t8 1234 \n');
    const { status } = await node.runtime.containerStatus({ containerId: other });
    const logged = () => readFileSync(status?.logPath ?? '', 'utf8');
    const deadline = performance.now() + DEADLINE_MS;
    while (!logged().endsWith('\n')) {
      assert.ok(performance.now() < deadline, 'nothing logged');
      await delay(50);
    }
    assert.match(logged(), /^\S+ stdout F Groups:\t8 1234 \n$/);
    await node.remove(pod);
  });
});
