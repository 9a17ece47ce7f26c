// The log that the shim writes itself (cri://): every byte, whole lines, through rotation and a full disk, beside any
// number of attached clients.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type AttachResponse, Logs } from '../../internal/api/generated/tscontainerd.shim.v1.ts';
import { Code, TtrpcClient } from '../../ttrpc/index.ts';
import { FifoReader, FifoWriter, makeFifo } from '../fixtures/fifo.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import {
  bundleSpec,
  modes,
  PlayedDaemon,
  type Shim,
  skipWithout,
  until,
} from '../fixtures/shim.ts';
import { contentOf, eachLine, parseLine, readLines } from '../fixtures/shim-log.ts';

const SIGKILL = 9;
/** As long as a line may be. */
const ZEROS = '\0'.repeat(16384);
/** What goes through one log; SHIM_LOG_MIB=1024 for more. */
const MEBIBYTES = Number(process.env['SHIM_LOG_MIB'] ?? 256);

/** Clients that come and go while a container runs; SHIM_ATTACHES=10000 for more. */
const ATTACHES = Number(process.env['SHIM_ATTACHES'] ?? 1000);

function logsOf(shim: Shim): Promise<TtrpcClient> {
  return TtrpcClient.connect(shim.socketPath);
}

async function end(shim: Shim): Promise<void> {
  await shim.task.kill({ id: 'c1', signal: SIGKILL });
  await shim.wait();
  await shim.finish();
}

/** An attached client that reads on its own connection. */
async function attach(shim: Shim, request: { stdout?: boolean; stderr?: boolean }) {
  const client = await TtrpcClient.connect(shim.socketPath);
  const stream = client
    .service(Logs)
    .attach({ id: 'c1', ...request })
    [Symbol.asyncIterator]();
  const first = await stream.next();
  assert.equal((first.value as AttachResponse).stream, '');
  const readAll = async (): Promise<{ text: string; dropped: number }> => {
    let text = '';
    let dropped = 0;
    for (let item = await stream.next(); item.done !== true; item = await stream.next()) {
      text += Buffer.from(item.value.data).toString('latin1');
      dropped += Number(item.value.dropped);
    }
    return { text, dropped };
  };
  return { client, readAll };
}

for (const runtime of modes) {
  const skip = skipWithout(runtime);

  test(`${runtime}: ${MEBIBYTES} MiB in pieces of random sizes arrive byte for byte`, {
    skip,
  }, async (t) => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/cat']);
    const stdin = makeFifo(daemon.directory, 'stdin');
    const path = join(daemon.directory, 'log');
    const writer = new FifoWriter(stdin);
    await shim.create({ stdin, stdout: `cri://${path}`, stderr: `cri://${path}` });
    await shim.start();
    const seed = Date.now() % 2 ** 32;
    t.diagnostic(`seed ${seed}`);
    const random = new SeededRandom(seed);
    const sent = createHash('sha256');
    const block = randomBytes(1 << 20).map((byte) => (byte === 0x0d ? 0x0e : byte)); // a CR may go
    const startMs = performance.now();
    for (let left = MEBIBYTES << 20; left > 0; ) {
      const length = Math.min(left, 1 + random.below(random.below(10) === 0 ? 1 << 20 : 20_000));
      const at = random.below(block.length - length + 1);
      const piece = block.subarray(at, at + length);
      sent.update(piece);
      await writer.write(piece);
      left -= length;
    }
    writer.close();
    await shim.task.closeIO({ id: 'c1', stdin: true });
    assert.equal(await shim.wait(), 0);
    t.diagnostic(`${Math.round(performance.now() - startMs)} ms`);
    const received = createHash('sha256');
    eachLine(path, ({ content, tag }) => {
      received.update(Buffer.from(tag === 'F' ? `${content}\n` : content, 'latin1'));
    });
    assert.equal(received.digest('hex'), sent.digest('hex'));
    await shim.finish();
  });

  test(`${runtime}: eight writers on both streams: no line is torn or lost, each keeps its order`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const count = 5000;
    const script = `
  for w in 1 2 3 4 5 6 7 8; do
    (i=0; while [ $i -lt ${count} ]; do echo "$w $i ................................"; i=$((i+1)); [ $((w%2)) = 0 ] && echo "e$w $i" >&2; done) &
  done; wait`;
    const shim = await daemon.shim(['/bin/sh', '-c', script]);
    const path = join(daemon.directory, 'log');
    await shim.create({ stdout: `cri://${path}`, stderr: `cri://${path}` });
    await shim.start();
    assert.equal(await shim.wait(), 0);
    const seen = new Map<string, number>();
    eachLine(path, ({ stream, tag, content }) => {
      assert.equal(tag, 'F');
      const [writer = '', number] = content.split(' ');
      assert.equal(stream, writer.startsWith('e') ? 'stderr' : 'stdout');
      const next = seen.get(writer) ?? (writer.startsWith('e') ? 1 : 0);
      assert.equal(Number(number), next, `writer ${writer}`);
      seen.set(writer, next + 1);
    });
    const expected = ['1', '2', '3', '4', '5', '6', '7', '8'].map((w) => [w, count] as const);
    const errors = ['e2', 'e4', 'e6', 'e8'].map((w) => [w, count + 1] as const);
    assert.deepEqual(new Map([...seen].sort()), new Map([...expected, ...errors]));
    await shim.finish();
  });

  test(`${runtime}: outputs of 2^20 to 2^27 bytes, one less and one more, are whole at the exit`, {
    skip,
  }, async (t) => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    await shim.start();
    const startMs = performance.now();
    for (let power = 20; power <= 27; power++) {
      for (const more of [-1, 0, 1]) {
        const size = 2 ** power + more;
        const id = `e${power}${more + 1}`;
        const path = join(daemon.directory, id);
        const stdout = `cri://${path}`;
        await shim.exec(id, ['/bin/sh', '-c', `head -c ${size - 3} /dev/zero; printf end`], {
          stdout,
        });
        assert.equal(await shim.wait(id), 0);
        let length = 0;
        let last = '';
        let wrong = 0;
        eachLine(path, ({ content, tag, stream }) => {
          length += content.length;
          last = (last + content.slice(-3)).slice(-3);
          if (
            tag !== 'P' ||
            stream !== 'stdout' ||
            !ZEROS.startsWith(content.replace(/end?$|e$|^n?d$/, ''))
          )
            wrong++;
        });
        assert.deepEqual([length, last, wrong], [size, 'end', 0]);
        rmSync(path);
        await shim.task.delete({ id: 'c1', execId: id });
      }
    }
    t.diagnostic(`${Math.round(performance.now() - startMs)} ms`);
    await end(shim);
  });

  test(`${runtime}: lines are as the kubelet wants them, in both formats`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const long = 'x'.repeat(40);
    const script = `echo out; echo err >&2; printf 'a\\r\\n\\n${long}\\n'; printf unfinished`;
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    await shim.start();
    const run = async (id: string, query: string): Promise<string> => {
      const path = join(daemon.directory, `dir/${id}`);
      const uri = `cri://${path}${query}`;
      await shim.exec(id, ['/bin/sh', '-c', script], { stdout: uri, stderr: uri });
      assert.equal(await shim.wait(id), 0);
      // An exit does not wait for ever for a disk that is busy with what other tests wrote.
      const isWhole = (log: string) => /\berr\b/.test(log) && log.includes('unfinished');
      await until(() => isWhole(readFileSync(path, 'utf8')), `the log ${id}`, 30_000);
      return readFileSync(path, 'utf8');
    };
    const cri = await run('cri', '?max-line=32&tag=x');
    const lines = cri.split('\n').slice(0, -1);
    assert.equal(cri.endsWith('\n'), true);
    // The streams are two pipes: each keeps its order, their lines may change places.
    const of = (stream: string) => lines.filter((line) => line.split(' ')[1] === stream);
    const texts = (stream: string) => of(stream).map((line) => line.slice(line.indexOf(' ') + 1));
    const times = of('stdout').map((line) => parseLine(line).time.replace(/Z$|[+-]\d\d:\d\d$/, ''));
    assert.deepEqual(times, times.toSorted());
    assert.deepEqual(texts('stderr'), ['stderr F:x err']);
    assert.deepEqual(texts('stdout'), [
      'stdout F:x out',
      'stdout F:x a',
      'stdout F:x ',
      `stdout P:x ${'x'.repeat(32)}`,
      `stdout F:x ${'x'.repeat(8)}`,
      'stdout P:x unfinished',
    ]);
    assert.equal(lines.length, 7);
    const json = await run('json', '?format=json&label=pod%3Da');
    const parsed = json
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { log: string; stream: string });
    const logs = (wanted: string) =>
      parsed.filter(({ stream }) => stream === wanted).map(({ log }) => log);
    assert.deepEqual(logs('stdout'), ['out\n', 'a\r\n', '\n', `${long}\n`, 'unfinished']);
    assert.deepEqual(logs('stderr'), ['err\n']);
    assert.deepEqual(Object.keys(parsed[0] ?? {}), ['log', 'stream', 'attrs', 'time']);
    assert.match(await run('last', '?last=F'), / stdout F unfinished\n/);
    await end(shim);
  });

  test(`${runtime}: a terminal goes to a log, and its input comes from a fifo`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const spec = bundleSpec('c1', []) as { process: object };
    const args = ['/bin/sh', '-c', 'read line; echo "got $line"'];
    const shim = await daemon.shim(
      args,
      {},
      { process: { ...spec.process, args, terminal: true } },
    );
    const stdin = makeFifo(daemon.directory, 'stdin');
    const path = join(daemon.directory, 'log');
    const writer = new FifoWriter(stdin);
    await shim.create({ stdin, stdout: `cri://${path}`, terminal: true });
    await shim.start();
    await writer.write('hello\n');
    assert.equal(await shim.wait(), 0);
    assert.deepEqual(
      readLines(path).map(({ stream, tag, content }) => `${stream} ${tag} ${content}`),
      ['stdout F hello', 'stdout F got hello'],
    );
    writer.close();
    await shim.finish();
  });

  test(`${runtime}: a log that is rotated fifty times loses and tears no line`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const script =
      'i=0; while [ ! -e /tmp/data/stop ]; do echo "$i"; i=$((i+1)); done; echo "end $i"';
    const data = join(daemon.directory, 'data');
    mkdirSync(data);
    const { mounts } = bundleSpec('c1', []) as { mounts: object[] };
    const bind = { destination: '/tmp/data', type: 'bind', source: data, options: ['rbind'] };
    const shim = await daemon.shim(['/bin/sh', '-c', script], {}, { mounts: [...mounts, bind] });
    const path = join(daemon.directory, 'log');
    await shim.create({ stdout: `cri://${path}` });
    await shim.start();
    const client = await logsOf(shim);
    const logs = client.service(Logs);
    const paths: string[] = [];
    for (let round = 0; round < 50; round++) {
      await until(() => statSync(path).size > 1000, 'some lines');
      renameSync(path, `${path}.${round}`);
      paths.push(`${path}.${round}`);
      await logs.reopen({ id: 'c1' });
    }
    writeFileSync(join(data, 'stop'), '');
    assert.equal(await shim.wait(), 0);
    let next = 0;
    let last = '';
    for (const each of [...paths, path]) {
      eachLine(each, ({ content, tag }) => {
        assert.equal(tag, 'F');
        last = content;
        if (content === String(next)) next++;
        else assert.equal(content, `end ${next}`);
      });
    }
    assert.equal(last, `end ${next}`);
    client.close();
    await shim.finish();
  });

  test(`${runtime}: a log on a full disk: the container runs on, and the log says what is missing`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const disk = join(daemon.directory, 'disk');
    mkdirSync(disk);
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', disk]).status, 0);
    try {
      const shim = await daemon.shim(['/bin/sh', '-c', 'seq 1 200000; echo all >&2; sleep 1000']);
      const path = join(disk, 'log');
      const stderr = new FifoReader(makeFifo(daemon.directory, 'stderr'));
      await shim.create({ stdout: `cri://${path}`, stderr: stderr.path });
      await shim.start();
      await until(() => stderr.text === 'all\n', 'the container to have written all', 30_000);
      const client = await logsOf(shim);
      const logs = client.service(Logs);
      const lost = async (): Promise<bigint> => {
        return (await logs.status({ id: 'c1' })).files[0]?.linesLost ?? 0n;
      };
      // The pump's last turns may still be to come.
      for (let before = -1n; before !== (await lost()); await delay(50)) before = await lost();
      const linesLost = await lost();
      assert.ok(linesLost > 100_000n, `${linesLost}`);
      for (const { content } of readLines(path)) assert.match(content, /^\d+$/);
      // Room again: what waited in memory comes, then the number of lines that did not.
      assert.equal(spawnSync('mount', ['-o', 'remount,size=64m', disk]).status, 0);
      const notice = / lines of output \((\d+) bytes\) lost: write .*: ENOSPC\n$/;
      await until(() => notice.test(readFileSync(path, 'utf8')), 'the notice');
      const lines = readLines(path);
      const { stream, content } = lines.pop() ?? parseLine('');
      assert.equal(stream, 'stderr');
      assert.ok(
        content.startsWith(`containerd-shim-tsrunc-v2: ${linesLost} lines of output (`),
        content,
      );
      // Nothing is missing before what the notice tells of.
      assert.deepEqual(
        lines.map((line) => Number(line.content)),
        Array.from({ length: 200_000 - Number(linesLost) }, (_, index) => index + 1),
      );
      client.close();
      await end(shim);
    } finally {
      spawnSync('umount', ['-l', disk]);
    }
  });

  test(`${runtime}: attached clients hear all, and one that does not read or dies holds up nobody`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sh', '-c', 'seq 1 300000; echo error >&2; exit 3']);
    const path = join(daemon.directory, 'log');
    const tee = makeFifo(daemon.directory, 'tee');
    await shim.create({ stdout: `cri://${path}?tee=${tee}`, stderr: `cri://${path}` });
    const readers = [
      await attach(shim, { stdout: true, stderr: true }),
      await attach(shim, { stdout: true }),
      await attach(shim, { stderr: true }),
    ];
    // A client that never reads: its connection's buffers fill, then its output is dropped.
    const lazy = await attach(shim, { stdout: true });
    const dying = await attach(shim, { stdout: true });
    dying.client.close();
    const teeReader = new FifoReader(tee);
    await shim.start();
    const texts = await Promise.all(readers.map(({ readAll }) => readAll()));
    assert.equal(await shim.wait(), 3);
    const all = Array.from({ length: 300_000 }, (_, index) => `${index + 1}\n`).join('');
    const lines = readLines(path);
    assert.equal(contentOf(lines, 'stdout'), all);
    assert.equal(contentOf(lines, 'stderr'), 'error\n');
    const [both, out, err] = texts.map(({ text, dropped }) => ({
      length: text.length,
      text,
      dropped,
    }));
    assert.deepEqual([err?.text, err?.dropped], ['error\n', 0]);
    // A fast reader on a busy machine may have been slow for a moment: then it was told so.
    assert.equal((out?.length ?? 0) + (out?.dropped ?? 0), all.length);
    assert.equal((both?.length ?? 0) + (both?.dropped ?? 0), all.length + 'error\n'.length);
    if (out?.dropped === 0) assert.equal(out.text, all);
    await teeReader.ended;
    assert.ok(teeReader.length > 0 && teeReader.length <= all.length);
    for (const { client } of [...readers, lazy]) client.close();
    await shim.finish();
  });

  test(`${runtime}: ${ATTACHES} attached clients that break off leave no handle (CVE-2022-23471)`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const script = 'while true; do echo x; sleep 0.01; done';
    const shim = await daemon.shim(['/bin/sh', '-c', script]);
    const path = join(daemon.directory, 'log');
    await shim.create({ stdout: `cri://${path}`, stderr: `cri://${path}` });
    await shim.start();
    /** Breaks off before the call, before its answer, or in the middle of it. */
    const breakOff = async (index: number): Promise<void> => {
      const client = await logsOf(shim);
      const stream = client.service(Logs).attach({ id: 'c1', stdout: true });
      const first = index % 3 === 0 ? undefined : stream[Symbol.asyncIterator]().next();
      first?.catch(() => {}); // it breaks off
      if (index % 3 === 2) await first;
      client.close();
    };
    const some = async (count: number): Promise<void> => {
      for (let done = 0; done < count; done += 50) {
        const batch = Array.from({ length: 50 }, (_, index) => breakOff(done + index));
        await Promise.all(batch);
      }
    };
    const handles = shim.fds.length;
    const threads = () => readdirSync(`/proc/${shim.pid}/task`).length;
    const forgotten = () => until(() => shim.fds.length <= handles, 'the clients to be forgotten');
    await some(100);
    await forgotten();
    const before = threads();
    await some(ATTACHES);
    await forgotten();
    assert.equal(threads(), before);
    const reader = await attach(shim, { stdout: true });
    const all = reader.readAll();
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    assert.equal(await shim.wait(), 128 + SIGKILL);
    assert.match((await all).text, /^(?:x\n)*$/, 'one that stays hears the rest');
    reader.client.close();
    await shim.finish();
  });

  test(`${runtime}: a process without such a log has none to reopen or attach to`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    await shim.start();
    const client = await logsOf(shim);
    const logs = client.service(Logs);
    const none = {
      code: Code.FAILED_PRECONDITION,
      message:
        "container c1 has no log of the shim's own: create it with cri://PATH as its stdout: failed precondition",
    };
    await assert.rejects(logs.reopen({ id: 'c1' }), none);
    await assert.rejects(logs.status({ id: 'c1' }), none);
    await assert.rejects(
      logs.attach({ id: 'c1', stdout: true })[Symbol.asyncIterator]().next(),
      none,
    );
    await assert.rejects(logs.reopen({ id: 'other' }), { code: Code.NOT_FOUND });
    client.close();
    await end(shim);
  });

  test(`${runtime}: an endless line without a limit does not fill the memory of the shim (CVE-2022-31030)`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    // Several times what the shim takes while it is written: some 60 MB beside the program, whatever the length.
    const shim = await daemon.shim(['/bin/sh', '-c', 'head -c 600000000 /dev/zero']);
    await shim.create({ stdout: 'cri:///dev/null?max-line=0' });
    await shim.start();
    let peakKb = 0;
    const waiting = shim.wait();
    const isDone = waiting.then(() => true);
    while (!(await Promise.race([isDone, delay(20, false)]))) {
      const status = readFileSync(`/proc/${shim.pid}/status`, 'utf8');
      peakKb = Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]);
    }
    assert.ok(peakKb < 160_000, `${peakKb} kB`);
    await shim.finish();
  });
}
