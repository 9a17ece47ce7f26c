// `spare_shim = true`: a shim is started ahead, and the next pod gets it. It is then as any other, and it never outlives a
// daemon without a pod.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { CriNode, skipCri } from '../fixtures/cri.ts';

const SHIM = join(import.meta.dirname, '../../dist/bin/containerd-shim-tsrunc-v2');
const DEADLINE_MS = 30_000;

const isSpare = (args: readonly string[]): boolean => args.includes('spare');

/** Arguments of a process; none of one that is gone or a zombie. */
function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0+$/, '').split('\0');
  } catch {
    return []; // it has ended
  }
}

function statusOf(pid: number, name: string): string {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
}

/** The spares of a daemon, which knows each of them by the address in their arguments. */
function sparesOf(node: CriNode): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const args = argumentsOf(pid);
      return isSpare(args) && args.includes(node.daemon.address);
    });
}

async function until<T>(what: string, look: () => T | undefined): Promise<T> {
  for (const startMs = performance.now(); ; ) {
    const found = look();
    if (found !== undefined) return found;
    if (performance.now() - startMs > DEADLINE_MS) throw new Error(`in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const spareOf = (node: CriNode): Promise<number> => until('a spare shim', () => sparesOf(node)[0]);

const start = (options: { directory?: string } = {}): Promise<CriNode> =>
  CriNode.start({
    ...options,
    cri: '[plugins."io.containerd.runtime.v2.task"]\nspare_shim = true',
  });

/** The pid of a pod's shim: the parent of the container. */
async function shimOf(node: CriNode, id: string): Promise<number> {
  const { info } = await node.runtime.containerStatus({ containerId: id, verbose: true });
  const { pid } = JSON.parse(info.get('info') ?? '{}') as { pid: number };
  return Number(statusOf(pid, 'PPid'));
}

describe('a spare shim', { skip: skipCri() }, () => {
  it('becomes the shim of the next pod, with its arguments, directory and parent', async () => {
    await using node = await start();
    const first = await node.run('exec sleep 1000');
    const spare = await spareOf(node);
    assert.equal(Number(statusOf(spare, 'PPid')), node.daemon.process.pid);
    assert.equal(readlinkSync(`/proc/${spare}/cwd`), '/');
    const second = await node.run('exec sleep 1000');
    assert.equal(await shimOf(node, second.id), spare);
    const ofFirst = await shimOf(node, first.id);
    const withoutId = (pid: number, pod: string): string[] =>
      argumentsOf(pid).map((arg) => (arg === pod ? 'POD' : arg));
    assert.deepEqual(withoutId(spare, second.pod), withoutId(ofFirst, first.pod));
    assert.ok(argumentsOf(spare).includes(second.pod));
    assert.equal(
      readlinkSync(`/proc/${spare}/cwd`).replace(second.pod, first.pod),
      readlinkSync(`/proc/${ofFirst}/cwd`),
    );
    for (const file of ['cgroup', 'oom_score_adj', 'comm']) {
      const [one, other] = [spare, ofFirst].map((pid) =>
        readFileSync(`/proc/${pid}/${file}`, 'utf8'),
      );
      assert.equal(one, other, file);
    }
    for (const name of ['PPid', 'NSsid', 'SigBlk', 'SigIgn', 'SigCgt', 'CapEff', 'Umask']) {
      if (name === 'NSsid') assert.equal(Number(statusOf(spare, name)), spare);
      else assert.equal(statusOf(spare, name), statusOf(ofFirst, name), name);
    }
    const { exitCode, stdout } = await node.runtime.execSync({
      containerId: second.id,
      cmd: ['/bin/echo', 'here'],
      timeout: 60n,
    });
    assert.deepEqual([exitCode, Buffer.from(stdout).toString()], [0, 'here\n']);
  });

  it('ends when its daemon is killed, and those of pods do not', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'daemon-'));
    try {
      const node = await start({ directory });
      await node.importImage();
      await node.run('exec sleep 1000');
      const spare = await spareOf(node);
      const { id } = await node.run('exec sleep 1000');
      assert.equal(await shimOf(node, id), spare);
      const next = await spareOf(node);
      await node.daemon.kill('SIGKILL');
      await until('the end of the spare', () => !isSpare(argumentsOf(next)) || undefined);
      await node[Symbol.asyncDispose]();
      await using later = await start({ directory });
      assert.equal(await shimOf(later, id), spare);
      assert.deepEqual(sparesOf(later), []);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('that was killed costs the next pod nothing but time', async () => {
    await using node = await start();
    await node.run('exec sleep 1000');
    const spare = await spareOf(node);
    // Stopped, so that the daemon still holds it for one when it takes it.
    process.kill(spare, 'SIGSTOP');
    const made = node.run('exec sleep 1000');
    await until(
      'the spare to be taken',
      () => sparesOf(node).some((pid) => pid !== spare) || undefined,
    );
    process.kill(spare, 'SIGKILL');
    const { id } = await made;
    assert.notEqual(await shimOf(node, id), spare);
  });

  it('ends instead of serving a daemon that died meanwhile', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'spare-'));
    const child = spawn(SHIM, ['-address', '/none', 'spare', ' '.repeat(256)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      const ended = once(child, 'exit');
      let output = '';
      child.stdout.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
      const call = { daemon: 1, namespace: 'n', id: 'i', address: '/none', bundle: directory };
      child.stdin.end(
        `${JSON.stringify({ options: '' })}\n${JSON.stringify({ ...call, input: '' })}\n`,
      );
      assert.deepEqual(await ended, [0, null]);
      assert.equal(output, '');
      assert.deepEqual(readdirSync(directory), []);
    } finally {
      child.kill('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
