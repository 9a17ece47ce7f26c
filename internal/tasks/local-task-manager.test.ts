import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Code, TtrpcError } from '../../ttrpc/index.ts';
import { unpackAny } from '../api/any.ts';
import { TaskExit } from '../api/generated/containerd.events.ts';
import { Any } from '../api/generated/google.protobuf.ts';
import { FakeDaemon, FakeShim, newTask, SCOPE, TASK_PID, textOf } from './fake-shim.fixture.ts';

test('create: the shim is called as containerd calls it, and the bundle is containerd’s', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  const options = { typeUrl: 'containerd.runc.v1.Options', value: Buffer.from([8, 1]) };
  process.env['NODE_EXTRA_CA_CERTS'] = '/nowhere';
  const pid = await daemon.manager.create(SCOPE, newTask('one', shim.program, { options }));
  delete process.env['NODE_EXTRA_CA_CERTS'];
  assert.equal(pid, TASK_PID);
  const bundle = daemon.bundle('one');
  assert.equal(
    textOf(join(daemon.directory, 'shim.arguments')),
    '-namespace test -address /grpc.sock -publish-binary /bin/daemon -id one start\n',
  );
  const environment = textOf(join(daemon.directory, 'shim.environment'))?.split('\n') ?? [];
  for (const line of [
    'GOMAXPROCS=2',
    'MAX_SHIM_VERSION=2',
    'TTRPC_ADDRESS=/grpc.sock.ttrpc',
    'GRPC_ADDRESS=/grpc.sock',
    'NAMESPACE=test',
    `PWD=${bundle}`,
  ]) {
    assert.ok(environment.includes(line), `${line} in the environment`);
  }
  assert.ok(!environment.some((line) => line.startsWith('NODE_')));
  const stdin = Buffer.from(textOf(join(daemon.directory, 'shim.stdin')) ?? '');
  assert.deepEqual(Any.decode(stdin), options);
  assert.deepEqual(readdirSync(bundle).sort(), [
    'bootstrap.json',
    'config.json',
    'log',
    'rootfs',
    'shim-binary-path',
    'work',
  ]);
  assert.equal(textOf(join(bundle, 'config.json')), '{"ociVersion":"1.2.0"}');
  assert.equal(textOf(join(bundle, 'shim-binary-path')), shim.program);
  assert.deepEqual(JSON.parse(textOf(join(bundle, 'bootstrap.json')) ?? ''), {
    version: 3,
    address: `unix://${shim.socket}`,
    protocol: 'ttrpc',
  });
  assert.equal(readlinkSync(join(bundle, 'work')), daemon.work('one'));
  assert.equal(statSync(bundle).mode & 0o777, 0o700);
  assert.equal(statSync(join(bundle, 'log')).isFIFO(), true);
});

test('delete: Delete, then Shutdown, and nothing is left', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  assert.deepEqual(await daemon.manager.delete(SCOPE, 'one'), {
    pid: TASK_PID,
    status: 3,
    at: 1_000_000_000_005n,
  });
  assert.deepEqual(shim.calls, ['create', 'delete', 'shutdown']);
  assert.deepEqual(daemon.leftovers('one'), []);
  assert.deepEqual(daemon.published, []);
  await assert.rejects(daemon.manager.get(SCOPE, 'one'), {
    kind: 'NotFound',
    message: 'task one not found',
  });
});

test('delete: calls under way hear that the task is gone', async () => {
  await using daemon = new FakeDaemon();
  const killed = Promise.withResolvers<void>();
  const onKill = async (): Promise<never> => {
    killed.resolve();
    return new Promise(() => undefined);
  };
  const shim = await FakeShim.start(daemon, 'shim', { onKill });
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  const task = await daemon.manager.get(SCOPE, 'one');
  const gone = { kind: 'NotFound', message: 'task one not found' };
  const calls = [task.wait(''), task.kill('', 9, true)].map((call) => assert.rejects(call, gone));
  await killed.promise;
  await daemon.manager.delete(SCOPE, 'one');
  await Promise.all(calls);
});

test('delete: a task that still runs stays', async () => {
  await using daemon = new FakeDaemon();
  const deleteError = new TtrpcError(Code.FAILED_PRECONDITION, 'process is running');
  const shim = await FakeShim.start(daemon, 'shim', { deleteError });
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  await assert.rejects(daemon.manager.delete(SCOPE, 'one'), {
    kind: 'FailedPrecondition',
    message: 'process is running',
  });
  assert.equal((await daemon.manager.list(SCOPE)).length, 1);
  assert.equal(daemon.leftovers('one').length, 2);
  shim.die();
});

const FAILURES: [name: string, script: string, message: RegExp][] = [
  ['fails', 'echo why >&2; exit 1', /^start shim of one: \S+ start: why: exit status 1$/],
  ['is killed', 'kill -9 $$', /^start shim of one: \S+ start: killed by SIGKILL$/],
  ['prints nothing', 'exit 0', /^start shim of one: start printed no address$/],
  [
    'prints a newer version',
    `echo '{"version":9,"address":"unix:///x"}'`,
    /^start shim of one: shim speaks version 9 of the task API$/,
  ],
  [
    'prints an address that nobody serves',
    `[ $verb = delete ] && exit 0; echo '{"version":3,"address":"unix:///nonexistent/s"}'`,
    /^connect to \/nonexistent\/s: ENOENT$|shim: connect to \/nonexistent\/s: ENOENT$/,
  ],
];

for (const [name, script, message] of FAILURES) {
  test(`create: a shim that ${name} leaves nothing behind`, async () => {
    await using daemon = new FakeDaemon();
    const program = daemon.program('broken', script);
    await assert.rejects(daemon.manager.create(SCOPE, newTask('one', program)), { message });
    await daemon.manager.settled();
    assert.deepEqual(daemon.leftovers('one'), []);
    assert.deepEqual(daemon.published, []);
    const shim = await FakeShim.start(daemon, 'shim');
    await daemon.manager.create(SCOPE, newTask('one', shim.program)); // the id is free
  });
}

test('create: when the shim refuses, its text is the error and nothing is left', async () => {
  await using daemon = new FakeDaemon();
  const createError = new TtrpcError(Code.UNKNOWN, 'OCI runtime create failed: no');
  const shim = await FakeShim.start(daemon, 'shim', { createError });
  await assert.rejects(daemon.manager.create(SCOPE, newTask('one', shim.program)), {
    kind: 'Unknown',
    message: 'OCI runtime create failed: no',
  });
  assert.deepEqual(shim.calls, ['create', 'kill', 'delete', 'shutdown']);
  assert.deepEqual(daemon.leftovers('one'), []);
  assert.match(
    textOf(join(daemon.directory, 'shim.arguments')) ?? '',
    / -id one -bundle \S+ delete\n$/,
  );
});

test('create: a caller that goes away leaves nothing behind', async () => {
  await using daemon = new FakeDaemon();
  const started = join(daemon.directory, 'started');
  const program = daemon.program('slow', `mkfifo ${started}; echo > ${started}; exec sleep 100`);
  const controller = new AbortController();
  const creating = daemon.manager.create(
    { ...SCOPE, signal: controller.signal },
    newTask('one', program),
  );
  while (!existsSync(started)) await new Promise((resolve) => setTimeout(resolve, 5));
  controller.abort();
  await assert.rejects(creating, { kind: 'Canceled' });
  assert.deepEqual(daemon.leftovers('one'), []);
});

for (const [what, more, message] of [
  [
    'an id that leaves the directory',
    { id: '../one' },
    /^task id: identifier "..\/one" must match /,
  ],
  ['a spec that is not JSON', { spec: { typeUrl: '', value: Buffer.from('{') } }, /^spec of the /],
  ['an unknown runtime', { runtime: 'io.nope.v1' }, /^runtime "io.nope.v1" binary not installed/],
] as const) {
  test(`create: ${what} is refused before anything is made`, async () => {
    await using daemon = new FakeDaemon();
    const shim = await FakeShim.start(daemon, 'shim');
    const task = { ...newTask('one', shim.program), ...more };
    await assert.rejects(daemon.manager.create(SCOPE, task), { message });
    assert.deepEqual(daemon.leftovers('one'), []);
    shim.die();
  });
}

test('create: of two with one id at the same time, one is refused', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  const results = await Promise.allSettled(
    [1, 2, 3].map(() => daemon.manager.create(SCOPE, newTask('one', shim.program))),
  );
  assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
  for (const result of results) {
    if (result.status === 'rejected') {
      assert.equal(result.reason.message, 'task one: already exists');
      assert.equal(result.reason.kind, 'AlreadyExists');
    }
  }
  const other = { namespace: 'other' };
  await daemon.manager.create(other, newTask('one', shim.program));
  assert.equal((await daemon.manager.list(other)).length, 1);
});

test('create: a directory in the place of the bundle is refused and kept', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  mkdirSync(daemon.bundle('one'), { recursive: true });
  await assert.rejects(daemon.manager.create(SCOPE, newTask('one', shim.program)), {
    kind: 'AlreadyExists',
    message: `make bundle ${daemon.bundle('one')}: EEXIST`,
  });
  assert.deepEqual(daemon.leftovers('one'), [daemon.bundle('one')]);
  shim.die();
});

test('sandbox: a task of a sandbox shares its shim, which ends with the last of them', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('pod', shim.program, { sandbox: 'pod' }));
  await daemon.manager.create(SCOPE, newTask('app', shim.program, { sandbox: 'pod' }));
  assert.equal(textOf(join(daemon.bundle('app'), 'sandbox')), 'pod');
  assert.deepEqual([...shim.tasks.keys()], ['pod', 'app']);
  assert.equal(textOf(join(daemon.directory, 'shim.arguments'))?.split('\n').length, 2);
  await daemon.manager.delete(SCOPE, 'pod');
  const [app] = await daemon.manager.list(SCOPE);
  assert.equal((await app?.state(''))?.pid, TASK_PID);
  await daemon.manager.delete(SCOPE, 'app');
  assert.deepEqual([...daemon.leftovers('pod'), ...daemon.leftovers('app')], []);
});

test('death: a shim that dies ends its task with what `delete` tells', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  const task = await daemon.manager.get(SCOPE, 'one');
  const waits = [task.wait(''), task.wait('exec')];
  shim.die();
  writeFileSync(shim.socket, ''); // a killed shim leaves its socket file
  const [exit, exec] = await Promise.all(waits);
  assert.deepEqual([exit?.pid, exit?.status], [TASK_PID, 137]);
  assert.deepEqual([exec?.pid, exec?.status], [0, 137]);
  await daemon.manager.settled();
  assert.deepEqual(
    daemon.published.map(({ topic }) => topic),
    ['/tasks/exit', '/tasks/delete'],
  );
  const event = unpackAny(daemon.published[0]?.event, TaskExit);
  assert.deepEqual(
    [event?.containerId, event?.id, event?.pid, event?.exitStatus],
    ['one', 'one', TASK_PID, 137],
  );
  assert.deepEqual(daemon.leftovers('one'), []);
  assert.equal(existsSync(shim.socket), false);
  assert.deepEqual(await daemon.manager.list(SCOPE), []);
});

test('death: without an answer of `delete` the status is 255', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  daemon.program('shim', 'echo broken >&2; exit 1');
  const task = await daemon.manager.get(SCOPE, 'one');
  const wait = task.wait('');
  shim.die();
  assert.equal((await wait).status, 255);
  await daemon.manager.settled();
  assert.deepEqual(daemon.leftovers('one'), []);
});

test('death: a delete that comes at that moment gets the exit', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  shim.die();
  assert.equal((await daemon.manager.delete(SCOPE, 'one')).status, 137);
  await daemon.manager.settled();
  assert.deepEqual(daemon.leftovers('one'), []);
});

test('wait: it goes on over a connection that breaks while the shim lives', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  const task = await daemon.manager.get(SCOPE, 'one');
  const wait = task.wait('');
  await task.state('');
  shim.dropConnections();
  // A call that meets the break fails with it; the next one has a new connection.
  await task.state('').catch((error) => assert.equal(error.kind, 'Unavailable'));
  await task.kill('', 9, false);
  assert.equal((await wait).status, 137);
  assert.deepEqual(daemon.published, []);
});

test('wait: the caller can give up', async () => {
  await using daemon = new FakeDaemon();
  const shim = await FakeShim.start(daemon, 'shim');
  await daemon.manager.create(SCOPE, newTask('one', shim.program));
  const task = await daemon.manager.get(SCOPE, 'one');
  const controller = new AbortController();
  const wait = task.wait('', controller.signal);
  controller.abort();
  await assert.rejects(wait, { kind: 'Canceled' });
});
