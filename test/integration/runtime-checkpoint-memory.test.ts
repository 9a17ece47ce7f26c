// Flags of checkpoint and restore for the memory of processes, by what CRIU does with it: pages that go to a page server
// (criu.org/Page_server), pages that are asked for after the restore (criu.org/Lazy_migration), pages that are given back
// when they are no longer needed (criu.org/Memory_images_deduplication).
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { after, type TestContext, test } from 'node:test';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import { RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { until } from '../fixtures/shim.ts';
import { machineOnly } from '../vm/machine.ts';

const skip = useCriu();
const fixture = skip === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
  fixture?.[Symbol.dispose]();
});

/** In the virtual machine all is ten times slower. */
const DEADLINE_MS = machineOnly() === false ? 180_000 : 30_000;

/** A container that counts in its /tmp/count, and counts by now. */
async function startCounter(id: string): Promise<void> {
  rmSync(join(runtime.rootfs, 'tmp/count'), { force: true });
  runtime.configure((config) => {
    config.process.args = ['sh', '-c', 'while :; do echo >> /tmp/count; sleep 0.05; done'];
    config.annotations = criuAnnotations(runtime.directory);
  });
  assert.equal(runtime.runDetached(['run', '-d', id]).error, '');
  await countsOn();
}

function count(): number {
  const path = join(runtime.rootfs, 'tmp/count');
  return existsSync(path) ? statSync(path).size : 0;
}

async function countsOn(): Promise<void> {
  const now = count();
  await until(() => count() > now, 'the container counts on', DEADLINE_MS);
}

function directory(name: string): string {
  const path = join(runtime.directory, name);
  mkdirSync(path, { recursive: true });
  return path;
}

const images = (path: string) => ['--image-path', path, '--work-path', `${path}.work`];

/** Images of memory in a directory, and the room that they take on the disk. */
function pages(path: string): { readonly files: number; readonly blocks: number } {
  const files = readdirSync(path).filter((name) => /^pages-\d+\.img$/.test(name));
  const blocks = files.map((name) => statSync(join(path, name)).blocks);
  return { files: files.length, blocks: blocks.reduce((sum, each) => sum + each, 0) };
}

/** A port at which nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

/** Starts a program whose fd 3 is a pipe, by which it tells that it is ready. */
function start(program: string, args: readonly string[]): ChildProcess {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] });
  children.push(child);
  return child;
}

/** The first bytes on its fd 3; whoever ends without any has failed. */
async function readiness(child: ChildProcess): Promise<string> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  const chunks: Buffer[] = await (child.stdio[3] as Readable).take(1, { signal }).toArray();
  return Buffer.concat(chunks).toString('latin1');
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    await once(child, 'exit', { signal: AbortSignal.timeout(DEADLINE_MS) });
  }
  return child.exitCode;
}

test('--page-server: memory is written by the server there, not into the images', {
  skip,
}, async () => {
  const id = runtime.newId('pages');
  await startCounter(id);
  const path = directory('images');
  const atServer = directory('server');
  const port = await freePort();
  const place = ['--address', '127.0.0.1', '--port', `${port}`];
  const server = start('criu', [
    ...['page-server', '--images-dir', atServer, '--status-fd', '3', ...place],
  ]);
  assert.equal(await readiness(server), '\0');
  const flags = ['--page-server', `127.0.0.1:${port}`, ...images(path)];
  const { status, error } = runtime.run(['checkpoint', ...flags, id]);
  assert.deepEqual([status, error], [0, '']);
  assert.equal(await exitCode(server), 0);
  assert.equal(pages(path).files, 0);
  const { files, blocks } = pages(atServer);
  assert.ok(files > 0 && blocks > 0);
  assert.deepEqual(runtime.leftovers(id), []);
});

test('--page-server: nobody listens there: an error, and the container runs on', {
  skip,
}, async () => {
  const id = runtime.newId('pages');
  await startCounter(id);
  const flags = ['--page-server', `127.0.0.1:${await freePort()}`, ...images(directory('alone'))];
  const { status, error } = runtime.run(['checkpoint', ...flags, id]);
  assert.equal(status, 1);
  assert.match(error, /^checkpoint pages-\S+: criu: .*: see \S+alone\.work\/dump\.log$/);
  await countsOn();
  assert.equal(runtime.run(['delete', '--force', id]).error, '');
});

test('--auto-dedup: a restore gives back what it has read of the images', { skip }, async () => {
  const id = runtime.newId('dedup');
  await startCounter(id);
  const path = directory('dedup');
  assert.equal(runtime.run(['checkpoint', ...images(path), id]).error, '');
  const before = pages(path);
  assert.ok(before.blocks > 0);
  for (const [flags, isGivenBack] of [
    [[], false],
    [['--auto-dedup'], true],
  ] as const) {
    const restored = runtime.runDetached(['restore', '-d', ...flags, ...images(path), id]);
    assert.deepEqual([restored.status, restored.error], [0, '']);
    await countsOn();
    assert.equal(runtime.run(['delete', '--force', id]).error, '');
    const now = pages(path);
    assert.equal(now.files, before.files);
    if (isGivenBack) assert.ok(now.blocks < before.blocks, `${now.blocks} of ${before.blocks}`);
    else assert.equal(now.blocks, before.blocks);
  }
});

// Without CAP_SYS_RESOURCE CRIU cannot raise its limit of open files, and the pipes that keep the memory for its server are
// not there when they are asked for ("page-pipe: splice: EBADF"): with runc as well.
test('--lazy-pages and --status-fd: memory comes from the old process after the restore', {
  skip: skip || machineOnly(),
}, async (context: TestContext) => {
  const id = runtime.newId('lazy');
  await startCounter(id);
  const path = directory('lazy');
  const port = await freePort();
  const [program = '', ...prefix] = runtime.command;
  const log = join(runtime.directory, 'checkpoint.log');
  const checkpoint = start(program, [
    ...[...prefix, '--root', runtime.stateRoot, '--log', log, 'checkpoint', '--lazy-pages'],
    ...['--page-server', `127.0.0.1:${port}`, '--status-fd', '3', ...images(path), id],
  ]);
  const ready = await readiness(checkpoint);
  if (ready === '' && /missing features: lazyPages/.test(readFileSync(log, 'utf8'))) {
    assert.equal(runtime.run(['delete', '--force', id]).error, '');
    return context.skip('this kernel cannot wait for memory: criu check --feature uffd');
  }
  assert.equal(ready, '\0', readFileSync(log, 'utf8'));
  const stopped = count();
  const server = start('criu', [
    ...['lazy-pages', '--page-server', '--address', '127.0.0.1', '--port', `${port}`],
    ...['--images-dir', path, '--work-dir', `${path}.work`],
    ...['--log-file', 'lazy-pages.log'],
  ]);
  const socket = join(`${path}.work`, 'lazy-pages.socket');
  await until(() => existsSync(socket), 'the server of lazy pages', DEADLINE_MS);
  const other = runtime.newId('restored');
  const flags = ['--lazy-pages', ...images(path)];
  const restored = runtime.runDetached(['restore', '-d', ...flags, other]);
  assert.deepEqual([restored.status, restored.error], [0, '']);
  assert.equal(await exitCode(server), 0);
  assert.equal(await exitCode(checkpoint), 0, readFileSync(log, 'utf8'));
  await until(() => count() > stopped, 'the restored container counts on', DEADLINE_MS);
  assert.equal(runtime.run(['state', id]).status, 1, 'the old one is gone');
  assert.equal(runtime.run(['delete', '--force', other]).error, '');
  for (const each of [id, other]) assert.deepEqual(runtime.leftovers(each), []);
});

test('--status-fd that cannot be written to is refused before anything is done', {
  skip,
}, async (context: TestContext) => {
  const id = runtime.newId('status');
  await startCounter(id);
  const flags = ['--lazy-pages', '--page-server', '127.0.0.1:1', ...images(directory('status'))];
  const { error } = runtime.run(['checkpoint', ...flags, '--status-fd', '77', id]);
  if (/missing features: lazyPages/.test(error)) context.diagnostic(error);
  else assert.equal(error, '--status-fd 77: EBADF (bad file descriptor)');
  await countsOn();
  assert.equal(runtime.run(['delete', '--force', id]).error, '');
});
