// The demonstration as a user sees it: with our programs, and with containerd and runc in their place; whole, interrupted
// and killed. A private TMPDIR makes what is left of it easy to see.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { peer } from '../peers/index.ts';
import { thisMachine, whatIsMissing } from './preflight.ts';
import { traces } from './workspace.ts';

const ours = join(import.meta.dirname, '../../dist/bin/tscontainerd');
const original = peer('containerd-2.1');
const missing = whatIsMissing(thisMachine()) ?? false;

const programs = [
  {
    name: 'our programs',
    args: [],
    env: process.env,
    skip: missing || (existsSync(ours) ? false : 'dist/bin/tscontainerd is not built: run make'),
  },
  {
    name: 'containerd and runc',
    args: ['--daemon', original.path, '--runtime', 'io.containerd.runc.v2'],
    env: original.env,
    skip: missing || original.skip,
  },
];

const bin = dirname(ours);
const withBoth = { ...original.env, PATH: `${bin}:${original.env['PATH']}` };
const theirShim = ['--runtime', 'io.containerd.runc.v2'];
const ourRuntime = ['--runtime-binary', join(bin, 'tsrunc')];
const theirDaemon = ['--daemon', original.path];
const neighbours = [
  { name: 'containerd, our shim, our runtime', args: theirDaemon, env: withBoth },
  {
    name: "containerd, containerd's shim, our runtime",
    args: [...theirDaemon, ...theirShim, ...ourRuntime],
    env: original.env,
  },
  { name: "our daemon, containerd's shim, runc", args: theirShim, env: withBoth },
];

const dir = mkdtempSync(join(tmpdir(), 'demo-test-'));
after(() => rmSync(dir, { recursive: true }));

interface Demo {
  readonly child: ChildProcess;
  readonly ended: Promise<{ status: number | null; output: string }>;
  /** Resolves when a line that begins with `start` was printed, or the run has ended. */
  readonly saw: (start: string) => Promise<void>;
}

function start(args: readonly string[], env: NodeJS.ProcessEnv): Demo {
  const main = join(import.meta.dirname, 'main.ts');
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...env, TMPDIR: dir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const waiting = new Map<string, () => void>();
  const collect = (chunk: Buffer) => {
    output += chunk;
    for (const [text, resolve] of waiting) if (output.includes(`\n${text}`)) resolve();
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const ended = new Promise<{ status: number | null; output: string }>((resolve) => {
    child.once('close', (status) => {
      for (const wake of waiting.values()) wake();
      resolve({ status, output });
    });
  });
  const saw = (text: string) => new Promise<void>((resolve) => waiting.set(text, resolve));
  return { child, ended, saw };
}

for (const { name, args, env, skip } of programs) {
  test(`${name}: the demonstration shows all that it announces, in less than 60 s`, {
    skip,
  }, async () => {
    const startMs = performance.now();
    const { status, output } = await start(args, env).ended;
    assert.equal(status, 0, output);
    assert.match(output, /The container lives on/);
    assert.match(output, /It ended with status 42/);
    assert.match(output, /What was seen, in [0-9.]+ s/);
    assert.ok(performance.now() - startMs < 60_000);
    assert.deepEqual(readdirSync(dir), []);
  });

  for (const step of ['2. ', '4. ', '7. ']) {
    test(`${name}: Ctrl-C at step ${step}leaves nothing behind`, { skip }, async () => {
      const demo = start(args, env);
      await demo.saw(step);
      demo.child.kill('SIGINT');
      const { status, output } = await demo.ended;
      assert.equal(status, 1, output);
      assert.match(output, /The demonstration ended early: stopped by SIGINT\n/);
      assertNoTraces(demo.child.pid);
    });
  }

  test(`${name}: what a killed run leaves, the next one removes`, { skip }, async () => {
    const demo = start(args, env);
    await demo.saw('5. ');
    demo.child.kill('SIGKILL');
    const killed = await demo.ended;
    assert.equal(killed.status, null, killed.output); // else it has ended by itself, too early
    const left = traces(join(dir, `tscontainerd-demo-${demo.child.pid}`));
    assert.ok(left.processes.length >= 2, 'daemon and container were left');
    assert.ok(existsSync(shimSocket(demo.child.pid)), 'the socket of the shim was left');
    const { status, output } = await start(args, env).ended;
    assert.equal(status, 0, output);
    assert.match(
      output,
      /^An earlier run was killed: removed its \d+ processes, \d+ mounts, \d+ cgroups/,
    );
    assertNoTraces(demo.child.pid);
  });
}

/** Where the run's shim has its socket: outside of the run's directory, named for daemon, namespace and container. */
function shimSocket(pid: number | undefined): string {
  const address = join(dir, `tscontainerd-demo-${pid}`, 'daemon.sock');
  const name = createHash('sha256').update(`${address}/demo/hello`).digest('hex');
  return join('/run/containerd/s', name);
}

for (const { name, args, env } of neighbours) {
  const skip = programs.map((kind) => kind.skip).find((reason) => reason !== false) ?? false;
  test(`${name}: the demonstration shows the same`, { skip }, async () => {
    const { status, output } = await start(args, env).ended;
    assert.equal(status, 0, output);
    assert.match(output, /What was seen, in [0-9.]+ s/);
    assert.deepEqual(readdirSync(dir), []);
  });
}

function assertNoTraces(pid: number | undefined): void {
  const nothing = { processes: [], mounts: [], cgroups: [] };
  assert.deepEqual(traces(join(dir, `tscontainerd-demo-${pid}`)), nothing);
  assert.deepEqual(readdirSync(dir), []);
  assert.equal(existsSync(shimSocket(pid)), false);
}
