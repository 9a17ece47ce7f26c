// What the shim does when others fail: a runtime that hangs or is killed, a full disk, clients that go away.
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Task } from '../../internal/api/generated/containerd.task.v3.ts';
import { TtrpcClient } from '../../ttrpc/index.ts';
import { FifoReader, makeFifo } from '../fixtures/fifo.ts';
import {
  isAlive,
  modes,
  PlayedDaemon,
  runtimeProgram,
  type Shim,
  skipWithout,
  until,
} from '../fixtures/shim.ts';

const SIGKILL = 9;
const skip = skipWithout('runc-1.3');

/** A runtime that stops itself before `command` does anything, as long as the file `hang` exists. */
function hangingRuntime(daemon: PlayedDaemon, command: string): { program: string; hang: string } {
  const [program, hang] = ['stub-runtime', 'hang'].map((name) => join(daemon.directory, name));
  const pidFile = join(daemon.directory, 'stopped');
  writeFileSync(
    `${program}`,
    `#!/bin/sh
case " $* " in *" ${command} "*) [ -e ${hang} ] && { echo $$ >${pidFile}.new; mv ${pidFile}.new ${pidFile}; kill -STOP $$; };; esac
exec ${runtimeProgram('runc-1.3')} "$@"
`,
  );
  chmodSync(`${program}`, 0o755);
  return { program: `${program}`, hang: `${hang}` };
}

async function stoppedPid(daemon: PlayedDaemon): Promise<number> {
  const file = join(daemon.directory, 'stopped');
  await until(() => existsSync(file), 'the runtime to stop');
  return Number(readFileSync(file, 'utf8'));
}

async function end(shim: Shim): Promise<void> {
  await shim.task.kill({ id: shim.id, signal: SIGKILL });
  assert.equal(await shim.wait(), 137);
  await shim.finish();
}

for (const runtime of modes) {
  const skip = skipWithout(runtime);

  test(`${runtime}: a log file on a full disk does not stop the container`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sh', '-c', 'head -c 3000000 /dev/zero; exit 3']);
    await shim.create({ stdout: 'file:///dev/full', stderr: 'file:///dev/full' });
    await shim.start();
    assert.equal(await shim.wait(), 3);
    await shim.finish();
  });

  test(`${runtime}: clients that go away while they wait leave nothing behind`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    await shim.start();
    const before = shim.fds.length;
    for (let round = 0; round < 50; round++) {
      const client = await TtrpcClient.connect(shim.socketPath);
      const lost = client
        .service(Task)
        .wait({ id: 'c1' })
        .catch(() => 'lost');
      client.close();
      assert.equal(await lost, 'lost');
    }
    await until(() => shim.fds.length <= before, 'the connections to be forgotten');
    await end(shim);
  });

  test(`${runtime}: a hundred execs leave no descriptor, no file and no child behind`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    await shim.start();
    const run = async (id: string, terminal: boolean): Promise<void> => {
      const stdout = new FifoReader(makeFifo(daemon.directory, `out-${id}`));
      await shim.exec(id, ['/bin/echo', id], { stdout: stdout.path, terminal });
      assert.equal(await shim.wait(id), 0);
      await stdout.ended;
      assert.equal(stdout.text.trim(), id);
      await shim.task.delete({ id: 'c1', execId: id });
    };
    await run('warm', false);
    await run('warm-tty', true);
    const before = shim.fds.length;
    const files = (): string[] => readdirSync(shim.bundle).sort();
    const filesBefore = files();
    for (let round = 0; round < 25; round++) {
      await Promise.all([0, 1, 2, 3].map((lane) => run(`e${round}-${lane}`, lane === 3)));
    }
    await until(() => shim.fds.length <= before, 'descriptors to be closed');
    assert.deepEqual(files(), filesBefore);
    const children = readFileSync(`/proc/${shim.pid}/task/${shim.pid}/children`, 'utf8');
    assert.equal(children.trim().split(' ').length, 1, 'only the container is left');
    await end(shim);
  });

  test(`${runtime}: what a hanging shim waits for can be asked by a signal`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    process.kill(shim.pid, 'SIGKILL');
    await until(() => !isAlive(shim.pid), 'the shim to die');
    const log = new FifoReader(makeFifo(shim.bundle, 'log'));
    assert.equal(daemon.command(['start']).status, 0);
    await shim.connect();
    await shim.create();
    await shim.start();
    const waiting = shim.wait();
    await delay(50);
    process.kill(shim.pid, 'SIGUSR1');
    await until(() => log.text.includes('msg="process"'), 'the answer');
    assert.match(log.text, /msg="request" .*method=wait container=c1 exec="" sinceMs=\d+/);
    assert.match(
      log.text,
      /msg="process" .*container=c1 exec="" pid=\d+ status=running exit=awaited/,
    );
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    await waiting;
    await shim.finish();
    log.close();
  });

  test(`${runtime}: a logger that dies does not stop the container`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const logger = join(daemon.directory, 'logger');
    writeFileSync(logger, '#!/bin/sh\nexec 5>&-\nhead -c 10 <&3 >/dev/null\nexit 1\n');
    chmodSync(logger, 0o755);
    const shim = await daemon.shim([
      '/bin/sh',
      '-c',
      'trap "" PIPE; seq 1 100000 2>/dev/null; exit 4',
    ]);
    await shim.create({ stdout: `binary://${logger}`, stderr: `binary://${logger}` });
    await shim.start();
    assert.equal(await shim.wait(), 4);
    await shim.finish();
  });
}

test('a runtime that hangs in exec holds up nothing but that exec', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/sleep', '1000']);
  const { program, hang } = hangingRuntime(daemon, 'exec');
  shim.binary = program;
  await shim.create();
  await shim.start();
  writeFileSync(hang, '');
  await shim.addExec('e1', ['/bin/true']);
  const hanging = assert.rejects(shim.start('e1'), {
    message: 'OCI runtime exec failed: killed by SIGKILL',
  });
  const pid = await stoppedPid(daemon);
  unlinkSync(hang);
  await shim.exec('e2', ['/bin/sh', '-c', 'exit 2']);
  assert.equal(await shim.wait('e2'), 2);
  assert.equal((await shim.task.state({ id: 'c1', execId: 'e1' })).pid, 0);
  process.kill(pid, 'SIGKILL');
  await hanging;
  // A second try of the same exec finds everything as it was.
  await shim.start('e1');
  assert.equal(await shim.wait('e1'), 0);
  await end(shim);
});

test('a container can be killed while its start hangs', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/sleep', '1000']);
  const { program, hang } = hangingRuntime(daemon, 'start');
  shim.binary = program;
  await shim.create();
  writeFileSync(hang, '');
  const hanging = assert.rejects(shim.start(), /OCI runtime start failed: killed by SIGKILL/);
  const pid = await stoppedPid(daemon);
  await shim.task.kill({ id: 'c1', signal: SIGKILL });
  process.kill(pid, 'SIGKILL');
  await hanging;
  assert.equal(await shim.wait(), 137);
  await shim.finish();
});
