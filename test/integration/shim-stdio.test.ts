// What goes through the shim's streams: every byte, in order, and nobody who waits for ever.
import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TaskExit } from '../../internal/api/generated/containerd.events.ts';
import { Code } from '../../ttrpc/index.ts';
import { FifoReader, FifoWriter, makeFifo } from '../fixtures/fifo.ts';
import { bundleSpec, optionsOf, PlayedDaemon, skipWithout, until } from '../fixtures/shim.ts';

const SIGKILL = 9;

/** A bundle whose container sees `directory` as /tmp/data. */
function withData(args: readonly string[], directory: string): object {
  const spec = bundleSpec('c1', args) as { mounts: object[] };
  const data = { destination: '/tmp/data', type: 'bind', source: directory, options: ['rbind'] };
  return { mounts: [...spec.mounts, data] };
}

function logger(directory: string, body: string): string {
  const path = join(directory, 'logger');
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

for (const runtime of ['runc-1.3', 'in-process'] as const) {
  const skip = skipWithout(runtime);

  test(`${runtime}: every byte of stdin comes back on stdout, whatever the sizes of the pieces`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/cat']);
    const stdin = makeFifo(daemon.directory, 'stdin');
    const stdout = new FifoReader(makeFifo(daemon.directory, 'stdout'));
    const writer = new FifoWriter(stdin);
    await shim.create({ stdin, stdout: stdout.path });
    await shim.start();
    const sent = randomBytes(12_000_000);
    for (let at = 0; at < sent.length; ) {
      const length = randomInt(1, 200_000);
      await writer.write(sent.subarray(at, at + length));
      at += length;
    }
    writer.close();
    await until(() => stdout.length === sent.length, 'all bytes');
    // A client that is gone is not the end of the input: CloseIO is.
    assert.equal((await shim.task.state({ id: 'c1' })).exitStatus, 0);
    const waiting = shim.wait();
    await shim.task.closeIO({ id: 'c1', stdin: true });
    assert.equal(await waiting, 0);
    await stdout.ended;
    assert.equal(stdout.bytes.compare(sent), 0);
    await shim.finish();
  });

  test(`${runtime}: stdin that is closed, and a size that is set, before an exec starts`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    await shim.start();
    const stdin = makeFifo(daemon.directory, 'stdin');
    const writer = new FifoWriter(stdin);
    await shim.addExec('e1', ['/bin/cat'], { stdin });
    await shim.task.closeIO({ id: 'c1', execId: 'e1', stdin: true });
    await shim.start('e1');
    writer.close();
    assert.equal(await shim.wait('e1'), 0);
    const stdout = new FifoReader(makeFifo(daemon.directory, 'stdout'));
    await shim.addExec('e2', ['/bin/stty', 'size'], { stdout: stdout.path, terminal: true });
    await shim.task.resizePty({ id: 'c1', execId: 'e2', width: 77, height: 33 });
    await shim.start('e2');
    assert.equal(await shim.wait('e2'), 0);
    await stdout.ended;
    assert.equal(stdout.text, '33 77\r\n');
    await assert.rejects(shim.task.resizePty({ id: 'c1', execId: 'e2', width: 7, height: 3 }), {
      code: Code.UNKNOWN,
      message: 'cannot resize a stopped container',
    });
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    await shim.wait();
    await shim.finish();
  });

  test(`${runtime}: stdout and stderr are carried beside each other, complete before the exit is told`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const data = join(daemon.directory, 'data');
    mkdirSync(data);
    const [out, err] = [randomBytes(8_000_001), randomBytes(7_999_999)];
    writeFileSync(join(data, 'out'), out);
    writeFileSync(join(data, 'err'), err);
    const script =
      'dd if=/tmp/data/out bs=7777 2>/dev/null & dd if=/tmp/data/err bs=911 >&2 2>/dev/null; wait';
    const args = ['/bin/sh', '-c', script];
    const shim = await daemon.shim(args, {}, withData(args, data));
    const stdout = new FifoReader(makeFifo(daemon.directory, 'stdout'));
    const stderr = new FifoReader(makeFifo(daemon.directory, 'stderr'));
    await shim.create({ stdout: stdout.path, stderr: stderr.path });
    await shim.start();
    await shim.wait();
    await Promise.all([stdout.ended, stderr.ended]);
    assert.equal(stdout.bytes.compare(out), 0);
    assert.equal(stderr.bytes.compare(err), 0);
    await shim.finish();
  });

  test(`${runtime}: what a client has not read is there for the next one, and the writer waits`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const count = 60_000;
    const shim = await daemon.shim(['/bin/sh', '-c', `seq 1 ${count}; echo end`]);
    const path = makeFifo(daemon.directory, 'stdout');
    const first = new FifoReader(path);
    first.socket.once('data', () => first.socket.pause()); // it must not read all there is
    await shim.create({ stdout: path });
    await shim.start();
    await until(() => first.length > 0, 'output');
    first.close();
    await delay(100); // nobody reads: pipes fill
    const second = new FifoReader(path);
    await shim.wait();
    await second.ended;
    const lines = Array.from({ length: count }, (_, index) => `${index + 1}\n`).join('');
    // The first client may have had bytes on the way to it when it closed: only the pipe is kept.
    assert.ok(second.text.endsWith(`${count}\nend\n`));
    assert.ok(`${first.text}${second.text}`.length <= lines.length + 4);
    assert.ok(lines.endsWith(second.text.slice(0, -4).split('\n').slice(1).join('\n')));
    await shim.finish();
  });

  for (const power of [12, 16, 17, 20]) {
    test(`${runtime}: the last of 2^${power} - 1, + 0 and + 1 bytes are there at the exit`, {
      skip,
    }, async () => {
      await using daemon = await PlayedDaemon.start(runtime);
      const shim = await daemon.shim(['/bin/sleep', '1000']);
      await shim.create();
      await shim.start();
      for (const more of [-1, 0, 1]) {
        const size = 2 ** power + more;
        const id = `e${more + 1}`;
        const stdout = new FifoReader(makeFifo(daemon.directory, id));
        await shim.exec(id, ['/bin/sh', '-c', `head -c ${size} /dev/zero`], {
          stdout: stdout.path,
        });
        assert.equal(await shim.wait(id), 0);
        await stdout.ended;
        assert.equal(stdout.length, size);
        await shim.task.delete({ id: 'c1', execId: id });
      }
      await shim.task.kill({ id: 'c1', signal: SIGKILL });
      await shim.wait();
      await shim.finish();
    });
  }

  test(`${runtime}: an exec is over when its process is, though a child still has its streams`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    await shim.start();
    const stdout = new FifoReader(makeFifo(daemon.directory, 'stdout'));
    const script =
      '(for i in $(seq 1 500); do echo child; sleep 0.01; done; echo alive >/tmp/alive) & echo parent';
    await shim.exec('e1', ['/bin/sh', '-c', script], { stdout: stdout.path });
    const startMs = performance.now();
    assert.equal(await shim.wait('e1'), 0);
    assert.ok(performance.now() - startMs < 4000, 'the exit does not wait for the child');
    assert.match(stdout.text, /parent/);
    await stdout.ended; // the client is let go, too, while the child still runs
    // The child was not killed by a closed pipe: it goes on to its last line.
    const check = '[ -e /tmp/alive ] && exit 7; while [ ! -e /tmp/alive ]; do sleep 0.05; done';
    await shim.exec('e2', ['/bin/sh', '-c', check]);
    assert.equal(await shim.wait('e2'), 0, 'the child went on after its streams were let go');
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    await shim.wait();
    await shim.finish();
  });

  test(`${runtime}: a client that does not read delays an exit, but not for ever`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sh', '-c', 'head -c 100000 /dev/zero']);
    const path = makeFifo(daemon.directory, 'stdout');
    const reader = new FifoReader(path);
    reader.socket.pause();
    await shim.create({ stdout: path });
    await shim.start();
    const startMs = performance.now();
    assert.equal(await shim.wait(), 0);
    assert.ok(performance.now() - startMs < 8000);
    reader.socket.resume();
    await reader.ended;
    assert.equal(reader.length, 100_000);
    await shim.finish();
  });

  test(`${runtime}: a terminal has its size, echoes, and ends with its process`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const spec = bundleSpec('c1', []) as { process: object };
    const script = 'echo ready; read line; stty size; echo "got $line"; tty';
    const args = ['/bin/sh', '-c', script];
    const process = { ...spec.process, args, terminal: true };
    const shim = await daemon.shim(args, {}, { process });
    const stdin = makeFifo(daemon.directory, 'stdin');
    const stdout = new FifoReader(makeFifo(daemon.directory, 'stdout'));
    const writer = new FifoWriter(stdin);
    await shim.create({ stdin, stdout: stdout.path, terminal: true });
    await shim.task.resizePty({ id: 'c1', width: 132, height: 43 });
    await shim.start();
    await until(() => stdout.text.includes('ready'), 'the prompt');
    await writer.write('hello\n');
    assert.equal(await shim.wait(), 0);
    await stdout.ended;
    assert.equal(stdout.text, 'ready\r\nhello\r\n43 132\r\ngot hello\r\n/dev/pts/0\r\n');
    writer.close();
    await shim.finish();
  });

  test(`${runtime}: an exec has a terminal of its own`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    await shim.start();
    const stdin = makeFifo(daemon.directory, 'stdin');
    const stdout = new FifoReader(makeFifo(daemon.directory, 'stdout'));
    const writer = new FifoWriter(stdin);
    await shim.addExec('e1', ['/bin/sh'], { stdin, stdout: stdout.path, terminal: true });
    await shim.start('e1');
    await shim.task.resizePty({ id: 'c1', execId: 'e1', width: 90, height: 30 });
    await writer.write('stty size; head -c 200000 /dev/zero | tr "\\0" x; exit 3\n');
    assert.equal(await shim.wait('e1'), 3);
    await stdout.ended;
    assert.match(stdout.text, /30 90/);
    assert.equal(stdout.text.match(/x{1000,}/)?.[0].length, 200_000);
    writer.close();
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    await shim.wait();
    await shim.finish();
  });

  test(`${runtime}: file:// appends both streams, and makes the directories`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim([
      '/bin/sh',
      '-c',
      'echo out; echo err >&2; head -c 500000 /dev/zero',
    ]);
    const path = join(daemon.directory, 'logs/deep/c1.log');
    mkdirSync(join(daemon.directory, 'logs'));
    const uri = `file://${path}`;
    await shim.create({ stdout: uri, stderr: uri });
    await shim.start();
    await shim.wait();
    const log = readFileSync(path);
    assert.equal(log.length, 500_008);
    assert.match(log.toString('latin1', 0, 20), /out\n/);
    assert.match(log.toString('latin1').replaceAll('\0', ''), /err\n/);
    await shim.finish();
  });

  test(`${runtime}: binary:// gives the streams to a logger, which reads them to the end`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const out = join(daemon.directory, 'out');
    const path = logger(
      daemon.directory,
      `echo "$CONTAINER_ID $CONTAINER_NAMESPACE $*" >${out}.env
exec 5>&-
cat <&3 >${out}.stdout & cat <&4 >${out}.stderr &
wait; echo done >>${out}.env`,
    );
    const shim = await daemon.shim(['/bin/sh', '-c', 'echo to-out; echo to-err >&2; seq 1 50000']);
    await shim.create({ stdout: `binary://${path}?key=value&flag`, stderr: `binary://${path}` });
    await shim.start();
    assert.equal(await shim.wait(), 0);
    await shim.finish();
    assert.equal(readFileSync(`${out}.env`, 'utf8'), 'c1 default key value flag \ndone\n');
    assert.match(readFileSync(`${out}.stdout`, 'utf8'), /^to-out\n1\n[\s\S]*\n50000\n$/);
    assert.equal(readFileSync(`${out}.stderr`, 'utf8'), 'to-err\n');
  });

  test(`${runtime}: a logger that is not there or never ready fails the creation`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/true']);
    await assert.rejects(shim.create({ stdout: 'binary:///no/such/logger' }), {
      code: Code.UNKNOWN, // as containerd's shim has it
      message: 'failed to create init process I/O: execute logger /no/such/logger: ENOENT',
    });
    const path = logger(daemon.directory, 'exit 1');
    await assert.rejects(shim.create({ stdout: `binary-v2://${path}` }), {
      message: `failed to create init process I/O: start logger ${path}: ended before it was ready`,
    });
    await shim.create();
    await shim.start();
    await shim.wait();
    await shim.finish();
  });

  test(`${runtime}: a fifo that is not there fails the creation by its name`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/true']);
    const stdout = makeFifo(daemon.directory, 'stdout');
    const stderr = join(daemon.directory, 'missing');
    await assert.rejects(shim.create({ stdout, stderr }), {
      code: Code.UNKNOWN,
      message: `failed to create init process I/O: open ${stderr}: ENOENT`,
    });
    await shim.create({ stdout });
    await shim.start();
    await shim.wait();
    await shim.finish();
    assert.equal(daemon.decoded('/tasks/exit', TaskExit).length, 1);
  });

  test(`${runtime}: IoUid and IoGid let a process open its own /dev/stdout`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const spec = bundleSpec('c1', []) as { process: object };
    const args = ['/bin/sh', '-c', 'echo opened >/proc/self/fd/1'];
    const process = { ...spec.process, args, user: { uid: 1234, gid: 1235 }, capabilities: {} };
    const shim = await daemon.shim(args, {}, { process });
    const stdout = new FifoReader(makeFifo(daemon.directory, 'stdout'));
    const options = optionsOf(runtime, {
      root: join(daemon.directory, 'runtime'),
      ioUid: 1234,
      ioGid: 1235,
    });
    await shim.create({ stdout: stdout.path }, options);
    await shim.start();
    assert.equal(await shim.wait(), 0);
    await stdout.ended;
    assert.equal(stdout.text, 'opened\n');
    await shim.finish();
  });
}
