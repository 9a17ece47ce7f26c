// Clients and daemons that go away in the middle of calls, or say half of a sentence: every call that began is finished,
// no event is lost, and the shim serves everybody else meanwhile.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { Task } from '../../internal/api/generated/containerd.task.v3.ts';
import { TtrpcClient } from '../../ttrpc/index.ts';
import { PlayedDaemon, type Shim, sharedRootfs, skipWithout, until } from '../fixtures/shim.ts';

const SIGKILL = 9;
/** A ttrpc header says length, stream, type and flags in 10 bytes; type 1 is a request. */
const HALF_HEADER = Buffer.from([0, 0, 0, 40, 0]);
const HEADER_OF_4_MIB = Buffer.from([0, 0x40, 0, 0, 0, 0, 0, 1, 1, 0]);

async function end(shim: Shim): Promise<void> {
  await shim.task.kill({ id: 'c1', signal: SIGKILL });
  assert.equal(await shim.wait(), 137);
  await shim.finish();
}

function rssKb(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

for (const runtime of ['tsrunc', 'in-process'] as const) {
  test(`${runtime}: half requests that never end hold up nobody and cost little`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime });
    await shim.create();
    await shim.start();
    const fds = shim.fds.length;
    const before = rssKb(shim.pid);
    const sockets: Socket[] = [];
    for (let index = 0; index < 500; index++) {
      const socket = connect(shim.socketPath);
      socket.on('error', () => {}); // the shim may have had enough of it
      socket.write(index % 2 === 0 ? HALF_HEADER : HEADER_OF_4_MIB);
      sockets.push(socket);
    }
    await until(() => shim.fds.length >= fds + sockets.length, 'the connections');
    for (let round = 0; round < 5; round++) {
      for (const socket of sockets) socket.write(Buffer.from([round])); // one byte at a time
      await shim.exec(`e${round}`, ['/bin/sh', '-c', `exit ${round}`]);
      assert.equal(await shim.wait(`e${round}`), round);
    }
    // 250 of them have announced 4 MiB each.
    const grownKb = rssKb(shim.pid) - before;
    assert.ok(grownKb < 40_000, `the shim has grown by ${grownKb} kB`);
    for (const socket of sockets) socket.destroy();
    await until(() => shim.fds.length <= fds, 'the connections to be forgotten');
    await end(shim);
  });

  test(`${runtime}: calls whose client has gone away are finished all the same`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime });
    const lost = async (call: (client: TtrpcClient) => Promise<unknown>): Promise<void> => {
      const client = await TtrpcClient.connect(shim.socketPath);
      const calling = call(client);
      // The answer to a second call on this connection: the first has begun.
      await client.service(Task).connect({ id: 'c1' });
      client.close();
      // The shim may have been faster; what it has done is the same.
      await calling.catch(() => {});
    };
    await lost((client) =>
      client.service(Task).create({
        id: 'c1',
        bundle: shim.bundle,
        rootfs: [{ type: 'bind', source: sharedRootfs(), options: ['rbind', 'ro'] }],
        options: shim.options,
      }),
    );
    await until(() => daemon.topics.includes('/tasks/create'), 'the creation');
    await lost((client) => client.service(Task).start({ id: 'c1' }));
    await until(() => daemon.topics.includes('/tasks/start'), 'the start');
    await shim.addExec('e1', ['/bin/sh', '-c', 'exit 6']);
    await lost((client) => client.service(Task).start({ id: 'c1', execId: 'e1' }));
    assert.equal(await shim.wait('e1'), 6);
    const exit = shim.wait();
    await lost((client) => client.service(Task).kill({ id: 'c1', signal: SIGKILL }));
    assert.equal(await exit, 137);
    await lost((client) => client.service(Task).delete({ id: 'c1' }));
    await until(() => daemon.topics.includes('/tasks/delete'), 'the deletion');
    assert.deepEqual(daemon.topics, [
      '/tasks/create',
      '/tasks/start',
      '/tasks/exec-added',
      '/tasks/exec-started',
      '/tasks/exit',
      '/tasks/exit',
      '/tasks/delete',
    ]);
    await shim.task.shutdown({ id: 'c1' });
  });

  test(`${runtime}: two hundred events wait for a daemon that is away, and come in their order`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime });
    await shim.create();
    await shim.start();
    await until(() => daemon.topics.includes('/tasks/start'), 'the first events');
    daemon.close();
    const expected = [...daemon.topics];
    for (let round = 0; round < 66; round++) {
      await shim.exec(`e${round}`, ['/bin/true']);
      assert.equal(await shim.wait(`e${round}`), 0);
      expected.push('/tasks/exec-added', '/tasks/exec-started', '/tasks/exit');
    }
    await daemon.listen();
    await until(() => daemon.topics.length >= expected.length, 'all events', 20_000);
    assert.deepEqual(daemon.topics, expected);
    await end(shim);
  });
}

for (const runtime of ['tsrunc', 'in-process', 'runc-1.3'] as const) {
  test(`${runtime}: a full disk under the state of the runtime fails a create, which can be tried again`, {
    skip: skipWithout(runtime),
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { runtime });
    const root = join(daemon.directory, 'runtime');
    mkdirSync(root);
    mount('-t', 'tmpfs', '-o', 'size=64k', 'full', root);
    try {
      const filler = join(root, 'filler');
      assert.throws(() => writeFileSync(filler, Buffer.alloc(1 << 20)), { code: 'ENOSPC' });
      await assert.rejects(shim.create(), /OCI runtime create failed: .*(ENOSPC|no space left)/i);
      assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(shim.bundle), false);
      writeFileSync(filler, '');
      await shim.create();
      await shim.start();
      await end(shim);
    } finally {
      spawnSync('umount', [root]);
    }
  });
}

function mount(...args: string[]): void {
  const result = spawnSync('mount', args, { encoding: 'utf8' });
  assert.equal(result.status, 0, result.stderr);
}
