// Logs of containers in both formats: lines of the CRI, and JSON lines (`log_format = "json"`); cut at
// `max_container_log_line_size`, rotated while they are written, with a client attached at once, and read by crictl.
import assert from 'node:assert/strict';
import { readFileSync, renameSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { CriNode, skipCri } from '../fixtures/cri.ts';
import { peer } from '../peers/index.ts';

interface JsonLine {
  readonly log: string;
  readonly stream: string;
  readonly time: string;
  readonly attrs: Readonly<Record<string, string>>;
}

const jsonLines = (path: string): JsonLine[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as JsonLine);

const FULL = 'a'.repeat(100);
const LONG = `echo ${FULL}; echo e >&2; printf 'say "hi"\\tü\\n'; printf rest; exit 3`;

describe('logs as JSON lines', { skip: skipCri(), timeout: 240_000 }, () => {
  let node: CriNode;
  before(async () => {
    node = await CriNode.start({
      cri: 'log_format = "json"\nmax_container_log_line_size = 64',
    });
  });
  after(() => node?.[Symbol.asyncDispose]());

  it('have the text, the stream, the time, and whose they are', async () => {
    const { pod, id } = await node.run(LONG);
    const { logPath, exitCode } = await node.exited(id);
    assert.equal(exitCode, 3);
    const lines = jsonLines(logPath);
    for (const { time, attrs } of lines) {
      assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
      assert.deepEqual(attrs, { pod: 'pod-1', namespace: 'default', container: 'main' });
    }
    const of = (wanted: string) =>
      lines.filter(({ stream }) => stream === wanted).map(({ log }) => log);
    assert.deepEqual(of('stderr'), ['e\n']);
    assert.deepEqual(of('stdout'), [
      FULL.slice(0, 64),
      `${FULL.slice(64)}\n`,
      'say "hi"\tü\n',
      'rest',
    ]);
    await node.remove(pod);
  });

  it('are what crictl shows without their wrapping', { skip: peer('crictl').skip }, async () => {
    const { pod, id } = await node.run(LONG);
    await node.exited(id);
    const { stdout, stderr } = await node.tryCrictl('logs', id);
    assert.equal(stderr, 'e\n');
    assert.equal(stdout, `${FULL}\nsay "hi"\tü\nrest`);
    await node.remove(pod);
  });

  it('are whole through rotations, and an attached client hears all at once', async () => {
    const { pod, id } = await node.run(
      'read go; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; read end',
      { stdin: true },
    );
    const { status } = await node.runtime.containerStatus({ containerId: id });
    const path = status?.logPath ?? '';
    const { url } = await node.runtime.attach({
      ...{ containerId: id, stdin: true, stdout: true, stderr: true },
    });
    const socket = new WebSocket(url.replace('http:', 'ws:'), 'v5.channel.k8s.io');
    let heard = '';
    const isWhole = Promise.withResolvers<void>();
    let isAnnounced = false;
    socket.on('message', (message: Buffer) => {
      if (!isAnnounced) {
        isAnnounced = true;
        socket.send(Buffer.from('\0go\n'));
        return;
      }
      if (message.readUInt8(0) === 1) heard += String(message.subarray(1));
      if (heard.endsWith('line 1999\n')) isWhole.resolve();
    });
    socket.once('close', () => isWhole.reject(new Error(`attach ended after ${heard.length}`)));
    const files: string[] = [];
    for (let rotation = 0; rotation < 10; rotation++) {
      files.push(`${path}.${rotation}`);
      renameSync(path, `${path}.${rotation}`);
      await node.runtime.reopenContainerLog({ containerId: id });
    }
    await isWhole.promise;
    socket.send(Buffer.from('\0end\n'));
    await node.exited(id);
    const expected = Array.from({ length: 2000 }, (_, index) => `line ${index}\n`).join('');
    assert.ok(heard === expected, `heard ${heard.length} of ${expected.length} bytes`);
    const logged = [...files, path].flatMap(jsonLines).map(({ log }) => log);
    assert.ok(logged.join('') === expected, `${logged.length} lines`);
    await node.remove(pod);
  });
});

describe("logs as the CRI's lines", { skip: skipCri(), timeout: 240_000 }, () => {
  it('are cut at max_container_log_line_size, the last part marked', async () => {
    await using node = await CriNode.start({ cri: 'max_container_log_line_size = 64' });
    const { id } = await node.run(LONG);
    const { logPath } = await node.exited(id);
    const lines = readFileSync(logPath, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => line.replace(/^\S+ /, ''));
    assert.deepEqual(
      lines.filter((line) => line.startsWith('stdout')),
      [
        `stdout P ${FULL.slice(0, 64)}`,
        `stdout F ${FULL.slice(64)}`,
        'stdout F say "hi"\tü',
        'stdout P rest',
      ],
    );
  });

  it('are not cut with -1', async () => {
    await using node = await CriNode.start({ cri: 'max_container_log_line_size = -1' });
    const { id } = await node.run('head -c 100000 /dev/zero | tr "\\0" x; echo');
    const { logPath } = await node.exited(id);
    assert.match(readFileSync(logPath, 'utf8'), /^\S+ stdout F x{100000}\n$/);
  });

  it('a limit that no line would fit into keeps the daemon from starting', async () => {
    await assert.rejects(
      CriNode.start({ cri: 'max_container_log_line_size = 5' }),
      /max_container_log_line_size: 5 is too short: use 16 or more, or -1 for no limit/,
    );
  });
});
