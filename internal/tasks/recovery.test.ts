import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  FakeDaemon,
  FakeShim,
  newTask,
  SCOPE,
  TASK_PID,
  textOf,
  writeBundle,
} from './fake-shim.fixture.ts';

/** Files of a bundle whose task has been created. */
function bundleFiles(shim: { socket: string; program: string }): Record<string, string> {
  const address = `unix://${shim.socket}`;
  return {
    'shim-binary-path': shim.program,
    'bootstrap.json': JSON.stringify({ version: 3, address, protocol: 'ttrpc' }),
  };
}

test('recover: a task whose shim lives is found again, and its end is seen', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  await daemon.manager.close();
  const manager = daemon.restarted();
  await manager.recover();
  const task = await manager.get(SCOPE, 'one');
  const wait = task.wait('');
  await task.kill('', 15, false);
  assert.equal((await wait).status, 143);
  assert.equal((await manager.delete(SCOPE, 'one')).status, 3);
  assert.deepEqual(daemon.leftovers('one'), []);
  assert.deepEqual(daemon.published, []);
});

test('recover: after a shim that died meanwhile everything is cleaned up and told', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  await daemon.manager.close();
  shim.die();
  const manager = daemon.restarted();
  await manager.recover();
  await assert.rejects(manager.get(SCOPE, 'one'), { kind: 'NotFound' });
  await manager.settled();
  assert.deepEqual(daemon.leftovers('one'), []);
  assert.deepEqual(
    daemon.published.map(({ topic }) => topic),
    ['/tasks/exit', '/tasks/delete'],
  );
  const again = await FakeShim.start(daemon, 'again');
  assert.equal(await manager.create(SCOPE, newTask('one', again.program)), TASK_PID);
});

test('recover: a shim that lives but does not answer keeps its task', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  const deaf = createServer(() => {}).listen(join(daemon.directory, 'deaf.sock'));
  writeBundle(daemon, 'one', bundleFiles({ ...shim, socket: join(daemon.directory, 'deaf.sock') }));
  await daemon.manager.recover();
  const [waiting] = daemon.manager.waits();
  assert.match(waiting ?? '', /^recover task test\/one for \d+ ms$/);
  await daemon.manager.settled();
  assert.equal((await daemon.manager.list(SCOPE)).length, 1);
  assert.equal(existsSync(daemon.bundle('one')), true);
  assert.equal(textOf(join(daemon.directory, 'shim.arguments')), undefined);
  deaf.close();
  shim.die();
});

test('recover: after a reboot nothing of the tasks is left on disk', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  for (const id of ['gone', 'kept']) await daemon.manager.create(SCOPE, newTask(id, shim.program));
  await daemon.manager.close();
  rmSync(daemon.bundle('gone'), { recursive: true }); // it was on tmpfs
  writeFileSync(join(daemon.work('gone'), 'file'), '');
  await daemon.restarted().recover();
  await daemon.manager.settled();
  assert.deepEqual(daemon.leftovers('gone'), []);
  assert.deepEqual(daemon.leftovers('kept'), [daemon.bundle('kept'), daemon.work('kept')]);
});

for (const intent of ['create', 'delete']) {
  test(`recover: what was about to ${intent} is removed, in the shim and on disk`, async () => {
    await using daemon = new FakeDaemon();
    const shim = await FakeShim.start(daemon, 'shim');
    await daemon.manager.create(SCOPE, newTask('one', shim.program));
    await daemon.manager.close();
    writeFileSync(join(daemon.bundle('one'), 'intent'), intent);
    const manager = daemon.restarted();
    await manager.recover();
    await assert.rejects(manager.get(SCOPE, 'one'), { kind: 'NotFound' });
    await manager.settled();
    assert.deepEqual(shim.calls.slice(1), ['kill', 'delete', 'shutdown']);
    assert.deepEqual(daemon.leftovers('one'), []);
    assert.deepEqual(daemon.published, []);
  });
}

test('recover: a shim that others use survives the removal of one task', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('pod', shim.program));
  await daemon.manager.create(SCOPE, newTask('app', shim.program, { sandbox: 'pod' }));
  await daemon.manager.close();
  writeFileSync(join(daemon.bundle('pod'), 'intent'), 'delete');
  const manager = daemon.restarted();
  await manager.recover();
  await manager.settled();
  assert.deepEqual(daemon.leftovers('pod'), []);
  assert.equal((await (await manager.get(SCOPE, 'app')).state('')).pid, TASK_PID);
});

test('recover: a shim that does not know its task is ended', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  writeBundle(daemon, 'one', bundleFiles(shim));
  await daemon.manager.recover();
  await daemon.manager.settled();
  assert.deepEqual(shim.calls, ['kill', 'delete', 'shutdown']);
  assert.deepEqual(daemon.leftovers('one'), []);
});

test('recover: the address file of an older daemon is read and replaced', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  await daemon.manager.close();
  writeBundle(daemon, 'old', {
    'shim-binary-path': shim.program,
    address: `unix://${shim.socket}\n`,
  });
  await daemon.restarted().recover();
  await daemon.manager.settled();
  // This fake serves version 3 alone, so the task is kept as one that does not answer.
  assert.deepEqual(JSON.parse(textOf(join(daemon.bundle('old'), 'bootstrap.json')) ?? ''), {
    version: 2,
    address: `unix://${shim.socket}`,
    protocol: 'ttrpc',
  });
  assert.equal(existsSync(join(daemon.bundle('old'), 'address')), false);
  shim.die();
});

test('recover: damaged bundles keep nobody from the others', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('good', shim.program));
  await daemon.manager.close();
  writeBundle(daemon, 'torn', { 'bootstrap.json': '{"version":3,' });
  writeBundle(daemon, 'bad..name', bundleFiles(shim));
  mkdirSync(daemon.bundle('.half-deleted'));
  mkdirSync(join(daemon.bundle('empty'), 'bootstrap.json'), { recursive: true });
  const manager = daemon.restarted();
  await manager.recover();
  await manager.settled();
  const tasks = await manager.list(SCOPE);
  assert.deepEqual(
    tasks.map(({ id }) => id),
    ['good'],
  );
  assert.equal(existsSync(daemon.bundle('.half-deleted')), false);
});

test('recover: 100 dead and 100 live shims are sorted out while tasks are served', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('first', shim.program));
  await daemon.manager.close();
  for (let index = 0; index < 100; index += 1) {
    shim.tasks.set(`live-${index}`, { bundle: '', exit: Promise.withResolvers() });
    writeBundle(daemon, `live-${index}`, bundleFiles(shim));
    writeBundle(daemon, `dead-${index}`, {
      ...bundleFiles({ ...shim, socket: `${shim.socket}.gone` }),
    });
  }
  const startMs = performance.now();
  const manager = daemon.restarted();
  await manager.recover();
  assert.equal((await (await manager.get(SCOPE, 'first')).state('')).pid, TASK_PID);
  const tasks = await manager.list(SCOPE);
  const readyMs = performance.now() - startMs;
  assert.equal(tasks.length, 101);
  console.log(`# list right after ${Math.round(readyMs)} ms`);
  await manager.settled();
  assert.equal(daemon.published.length, 200);
  assert.deepEqual(daemon.leftovers('dead-50'), []);
  console.log(`# cleaned up after ${Math.round(performance.now() - startMs)} ms`);
});
