// The sandbox service of our shim: a pod whose pause container the shim keeps itself, and a pod without one; spoken to by
// ttrpc, and driven by containerd 2.1 and by our daemon.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packAny, unpackAny } from '../../internal/api/any.ts';
import { Events } from '../../internal/api/generated/containerd.services.events.v1.ts';
import { Controller, Store } from '../../internal/api/generated/containerd.services.sandbox.v1.ts';
import { Metrics } from '../../internal/api/generated/io.containerd.cgroups.v1.ts';
import { Metrics as MetricsV2 } from '../../internal/api/generated/io.containerd.cgroups.v2.ts';
import { PodSandboxConfig } from '../../internal/api/generated/runtime.v1.ts';
import { Options as GenericOptions } from '../../internal/api/generated/runtimeoptions.v1.ts';
import { timestampToNs } from '../../internal/api/time.ts';
import { Code } from '../../ttrpc/index.ts';
import { skipWithout as skipDaemon } from '../fixtures/daemon.ts';
import { GrpcConnection } from '../fixtures/grpc-client.ts';
import {
  bundleSpec,
  isAlive,
  PlayedDaemon,
  type RuntimeName,
  type Shim,
  sharedRootfs,
  skipWithout,
  until,
} from '../fixtures/shim.ts';
import { Machine, RUNTIME } from '../fixtures/shim-machine.ts';

const SIGKILL = 9;
const RUNTIMES: readonly RuntimeName[] = ['tsrunc', 'in-process', 'runc-1.3'];

const rootfs = () => [{ type: 'bind', source: sharedRootfs(), options: ['rbind', 'ro'] }];

function mountsOf(shim: Shim): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8').includes(shim.bundle);
}

for (const runtime of RUNTIMES) {
  const skip = skipWithout(runtime);

  test(`a sandbox over ${runtime} lives, is measured and ends with its pause container`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '1000'], { id: 'pod', runtime });
    const { sandbox } = shim;
    const sandboxId = 'pod';
    const before = BigInt(Date.now()) * 1_000_000n;
    await sandbox.createSandbox({
      sandboxId,
      bundlePath: shim.bundle,
      rootfs: rootfs(),
      options: shim.options,
    });
    const created = await sandbox.sandboxStatus({ sandboxId });
    assert.equal(created.state, 'SANDBOX_NOTREADY');
    const createdNs = timestampToNs(created.createdAt ?? { seconds: 0n, nanos: 0 });
    assert.ok(createdNs >= before && createdNs < BigInt(Date.now() + 1) * 1_000_000n);
    const waiters = [sandbox.waitSandbox({ sandboxId }), sandbox.waitSandbox({ sandboxId })];
    for (const waiter of waiters) waiter.catch(() => undefined); // awaited below, if it comes to that
    const started = await sandbox.startSandbox({ sandboxId });
    assert.deepEqual([started.pid, started.createdAt], [created.pid, created.createdAt]);
    assert.ok(isAlive(started.pid));
    // runc's start answers before its init has executed the program.
    const program = (): string => readFileSync(`/proc/${started.pid}/cmdline`, 'utf8');
    await until(() => program().includes('sleep'), 'the pause program to be executed');
    await sandbox.pingSandbox({ sandboxId });
    const status = await sandbox.sandboxStatus({ sandboxId, verbose: true });
    assert.deepEqual(
      [status.sandboxId, status.state, status.pid, status.exitedAt],
      ['pod', 'SANDBOX_READY', started.pid, undefined],
    );
    const info = JSON.parse(new Map(status.info).get('info') ?? '') as Record<string, unknown>;
    assert.deepEqual(
      [info['pid'], info['processStatus'], info['bundle']],
      [started.pid, 'running', shim.bundle],
    );
    const { metrics } = await sandbox.sandboxMetrics({ sandboxId });
    assert.equal(metrics?.id, 'pod');
    const data = unpackAny(metrics.data, Metrics) ?? unpackAny(metrics.data, MetricsV2);
    assert.equal(data?.pids?.current, 1n);

    // The pause container is no task, and the shim does not leave for want of tasks.
    await assert.rejects(shim.task.state({ id: 'pod' }), { code: Code.NOT_FOUND });
    await shim.task.shutdown({ id: 'pod' });
    await sandbox.stopSandbox({ sandboxId, timeoutSecs: 10 });
    assert.equal(isAlive(started.pid), false);
    for (const waiter of waiters) assert.equal((await waiter).exitStatus, 137);
    const stopped = await sandbox.sandboxStatus({ sandboxId });
    assert.equal(stopped.state, 'SANDBOX_NOTREADY');
    assert.deepEqual(stopped.exitedAt, (await waiters[0])?.exitedAt);
    await sandbox.stopSandbox({ sandboxId });
    await sandbox.shutdownSandbox({ sandboxId });
    await until(() => !isAlive(shim.pid), 'the shim to leave');
    assert.equal(existsSync(join(daemon.directory, 'runtime/default/pod')), false);
    assert.equal(existsSync(shim.socketPath), false);
    assert.equal(mountsOf(shim), false);
    assert.deepEqual(daemon.topics, [], 'the events of a sandbox are the daemon’s');
  });
}

const skip = skipWithout('tsrunc');

test('tasks of a sandbox live in its namespaces, and the shim leaves with the last of them', {
  skip,
}, async () => {
  await using daemon = await PlayedDaemon.start();
  const annotations = { 'io.kubernetes.cri.sandbox-id': 'pod' };
  const options = { annotations, runtime: 'in-process' } as const;
  const pod = await daemon.shim(['/bin/sleep', '1000'], { ...options, id: 'pod' });
  const { sandbox } = pod;
  const sandboxId = 'pod';
  const create = { sandboxId, bundlePath: pod.bundle, rootfs: rootfs(), options: pod.options };
  await sandbox.createSandbox(create);
  const { pid } = await sandbox.startSandbox({ sandboxId });
  const namespaces = ['ipc', 'uts', 'mount', 'pid'].map((type) => {
    return type === 'ipc' ? { type, path: `/proc/${pid}/ns/ipc` } : { type };
  });
  const linux = { namespaces, cgroupsPath: `/shim-test-${process.pid}/app` };
  const app = await daemon.shim(['/bin/sleep', '1000'], { ...options, id: 'app' }, { linux });
  assert.equal(app.pid, pod.pid);
  const appPid = await app.create();
  await app.start();
  assert.equal(readlinkSync(`/proc/${appPid}/ns/ipc`), readlinkSync(`/proc/${pid}/ns/ipc`));
  await sandbox.shutdownSandbox({ sandboxId });
  assert.equal(isAlive(pid), false);
  assert.ok(isAlive(appPid), 'a task is not killed by the end of its sandbox');
  await app.task.kill({ id: 'app', signal: SIGKILL });
  assert.equal(await app.wait(), 137);
  await app.task.delete({ id: 'app' }); // nobody sends a Shutdown for the task of a sandbox
  await until(() => !isAlive(pod.pid), 'the shim to leave');
});

test('a sandbox without a process is a bracket around its tasks', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/true'], { id: 'pod' });
  process.kill(shim.pid, 'SIGKILL');
  await until(() => !isAlive(shim.pid), 'the shim to die');
  rmSync(join(shim.bundle, 'config.json')); // as for a pod of CRI with `sandboxer = "shim"`
  assert.equal(daemon.command(['start'], { id: 'pod' }).status, 0);
  await shim.connect();
  const { sandbox } = shim;
  const sandboxId = 'pod';
  const options = packAny(PodSandboxConfig, { hostname: 'pod' });
  await sandbox.createSandbox({ sandboxId, bundlePath: shim.bundle, rootfs: rootfs(), options });
  assert.ok(existsSync(join(shim.bundle, 'rootfs/bin/sh')));
  assert.equal((await sandbox.startSandbox({ sandboxId })).pid, 0);
  assert.equal((await sandbox.sandboxStatus({ sandboxId })).state, 'SANDBOX_READY');
  assert.deepEqual(await sandbox.sandboxMetrics({ sandboxId }), { metrics: undefined });
  const { platform } = await sandbox.platform({ sandboxId });
  const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as 'x64' | 'arm64'];
  assert.deepEqual([platform?.os, platform?.architecture], ['linux', architecture]);
  const wait = sandbox.waitSandbox({ sandboxId });
  await sandbox.stopSandbox({ sandboxId });
  assert.equal((await wait).exitStatus, 0);
  await sandbox.shutdownSandbox({ sandboxId });
  await until(() => !isAlive(shim.pid), 'the shim to leave');
  assert.equal(mountsOf(shim), false);
});

test('a sandbox is put into the network namespace that the daemon has made', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/sleep', '1000'], { id: 'pod', runtime: 'tsrunc' });
  const holder = await daemon.shim(
    ['/bin/sleep', '1000'],
    { id: 'net', runtime: 'tsrunc' },
    {
      linux: {
        namespaces: ['network', 'uts', 'pid', 'mount'].map((type) => ({ type })),
        cgroupsPath: `/shim-test-${process.pid}/net`,
      },
    },
  );
  const holderPid = await holder.create();
  await shim.sandbox.createSandbox({
    sandboxId: 'pod',
    bundlePath: shim.bundle,
    rootfs: rootfs(),
    options: shim.options,
    netnsPath: `/proc/${holderPid}/ns/net`,
  });
  const { pid } = await shim.sandbox.startSandbox({ sandboxId: 'pod' });
  assert.equal(readlinkSync(`/proc/${pid}/ns/net`), readlinkSync(`/proc/${holderPid}/ns/net`));
  await shim.sandbox.shutdownSandbox({ sandboxId: 'pod' });
  await holder.finish();
});

test('sandboxes that do not exist, exist already or have ended are refused by code', {
  skip,
}, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/sh', '-c', 'exit 3'], { id: 'pod', runtime: 'tsrunc' });
  const { sandbox } = shim;
  const none = { code: Code.NOT_FOUND, message: 'sandbox pod: not found' };
  const sandboxId = 'pod';
  for (const method of [
    'startSandbox',
    'stopSandbox',
    'waitSandbox',
    'sandboxStatus',
    'pingSandbox',
    'sandboxMetrics',
  ] as const) {
    await assert.rejects(sandbox[method]({ sandboxId }), none);
  }
  const create = { sandboxId, bundlePath: shim.bundle, rootfs: rootfs(), options: shim.options };
  await assert.rejects(sandbox.createSandbox({ ...create, bundlePath: 'x' }), {
    code: Code.INVALID_ARGUMENT,
    message: 'bundle "x": not an absolute path: invalid argument',
  });
  const missing = [{ type: 'bind', source: '/no/such', options: ['bind'] }];
  await assert.rejects(sandbox.createSandbox({ ...create, rootfs: missing }), {
    code: Code.UNKNOWN,
    message: `failed to mount rootfs component: mount bind on ${join(shim.bundle, 'rootfs')}: ENOENT`,
  });
  assert.equal(mountsOf(shim), false);
  await sandbox.createSandbox(create);
  await assert.rejects(sandbox.createSandbox(create), {
    code: Code.ALREADY_EXISTS,
    message: 'sandbox pod: already exists',
  });
  await assert.rejects(sandbox.pingSandbox({ sandboxId: 'other' }), { code: Code.NOT_FOUND });
  await sandbox.startSandbox({ sandboxId });
  assert.equal((await sandbox.waitSandbox({ sandboxId })).exitStatus, 3);
  await assert.rejects(sandbox.startSandbox({ sandboxId }), {
    code: Code.FAILED_PRECONDITION,
    message: 'cannot start a stopped sandbox: failed precondition',
  });
  await sandbox.shutdownSandbox({ sandboxId });
  await until(() => !isAlive(shim.pid), 'the shim to leave');
});

test('the shim of a sandbox that was killed is cleaned up by delete', { skip }, async () => {
  await using daemon = await PlayedDaemon.start();
  const shim = await daemon.shim(['/bin/sleep', '1000'], { id: 'pod', runtime: 'tsrunc' });
  const { sandbox } = shim;
  const create = { bundlePath: shim.bundle, rootfs: rootfs(), options: shim.options };
  await sandbox.createSandbox({ sandboxId: 'pod', ...create });
  const { pid } = await sandbox.startSandbox({ sandboxId: 'pod' });
  process.kill(shim.pid, 'SIGKILL');
  await until(() => !isAlive(shim.pid), 'the shim to die');
  const result = daemon.command(['-bundle', shim.bundle, 'delete'], { id: 'pod' });
  assert.deepEqual([result.status, result.stderr.toString()], [0, '']);
  assert.equal(isAlive(pid), false);
  assert.equal(mountsOf(shim), false);
});

const CASES = [
  { kind: 'containerd-2.1', inProcess: false },
  { kind: 'containerd-2.1', inProcess: true },
  { kind: 'tscontainerd', inProcess: false },
  { kind: 'tscontainerd', inProcess: true },
] as const;

for (const { kind, inProcess } of CASES) {
  const mode = inProcess ? 'in-process' : 'process';

  test(`${kind} runs a sandbox and a task in it by our shim, ${mode}`, {
    skip: skip || skipDaemon(kind),
  }, async () => {
    await using machine = await Machine.start(kind, 'tsrunc', { hasCri: true });
    using grpc = new GrpcConnection(machine.daemon.address, machine.namespace);
    const [store, controller] = [grpc.service(Store), grpc.service(Controller)];
    const base = bundleSpec('pod', ['/bin/sleep', '1000']);
    const cgroupsPath = `/${machine.namespace}/pod`;
    const linux = { namespaces: ['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })) };
    const spec = {
      typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
      value: Buffer.from(JSON.stringify({ ...base, linux: { ...linux, cgroupsPath } })),
    };
    const table = Buffer.from(`InProcess = ${inProcess}\n`);
    const runtime = {
      name: 'io.containerd.tsrunc.v2',
      options: packAny(GenericOptions, { configBody: table }),
    };
    const sandbox = { sandboxId: 'pod', runtime, spec, sandboxer: 'shim' };
    const which = { sandboxId: 'pod', sandboxer: 'shim' };
    // A test that fails before its end must not leave the sandbox; after it there is none.
    await using stack = new AsyncDisposableStack();
    stack.defer(() => controller.shutdown(which).then(undefined, () => {}));
    const events = subscribe(grpc);
    stack.defer(() => events.end());
    await store.create({ sandbox });
    await controller.create({ ...which, sandbox, rootfs: rootfs() });
    await assert.rejects(controller.create({ ...which, sandbox }), {
      code: Code.ALREADY_EXISTS,
      details: 'sandbox pod already running: already exists',
    });
    const { pid } = await controller.start(which);
    await until(() => events.topics.length === 2, 'two events');
    assert.deepEqual(events.topics, ['/sandboxes/create', '/sandboxes/start']);
    if (kind === 'tscontainerd') {
      // containerd 2.1 does not implement it.
      assert.equal((await controller.platform(which)).platform?.os, 'linux');
      await controller.update({ ...which, sandbox });
    }
    assert.ok(isAlive(pid));
    const status = await controller.status({ ...which, verbose: true });
    assert.deepEqual([status.state, status.pid], ['SANDBOX_READY', pid]);
    assert.equal((await controller.metrics(which)).metrics?.id, 'pod');
    machine.output(
      'run',
      ...RUNTIME,
      '-d',
      '--sandbox',
      'pod',
      '--rootfs',
      sharedRootfs(),
      'app',
      '/bin/sleep',
      '1000',
    );
    const shimPid = machine.shimOf('app');
    assert.match(
      readFileSync(`/proc/${pid}/status`, 'utf8'),
      new RegExp(`^PPid:\\s${shimPid}$`, 'm'),
    );

    // The daemon dies; the sandbox and its task are found again.
    await machine.restart();
    assert.equal((await controller.status(which)).pid, pid);
    assert.equal(machine.status('app'), 'RUNNING');
    machine.output('tasks', 'kill', '--signal', 'SIGKILL', 'app');
    await until(() => machine.status('app') === 'STOPPED', 'the task to stop');
    assert.equal(machine.deleteTask('app'), 137);
    machine.output('containers', 'rm', 'app');
    assert.ok(isAlive(shimPid), 'the sandbox lives on without tasks');
    const wait = controller.wait(which);
    await controller.stop(which);
    assert.equal((await wait).exitStatus, 137);
    await controller.shutdown(which);
    await until(() => !isAlive(shimPid), 'the shim to leave');
    await store.delete({ sandboxId: 'pod' });
    // Of what is not there any more both daemons answer the same.
    await controller.stop(which);
    const gone = await controller.status(which);
    assert.deepEqual([gone.state, gone.pid], ['', 0]);
    for (const method of ['wait', 'shutdown', 'metrics'] as const) {
      await assert.rejects(controller[method](which), {
        code: Code.NOT_FOUND,
        details: kind === 'tscontainerd' ? 'sandbox pod: not found' : 'not found',
      });
    }
    await assert.rejects(controller.create({ ...which, sandboxer: 'x', sandbox }), {
      code: Code.NOT_FOUND,
    });
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(machine.directory), false);
  });
}

test('tscontainerd: a sandbox that cannot be made leaves nothing, one whose shim dies has ended', {
  skip: skip || skipDaemon('tscontainerd'),
}, async () => {
  await using machine = await Machine.start('tscontainerd', 'tsrunc');
  using grpc = new GrpcConnection(machine.daemon.address, machine.namespace);
  const controller = grpc.service(Controller);
  const linux = { namespaces: ['pid', 'uts', 'mount'].map((type) => ({ type })) };
  const cgroupsPath = `/${machine.namespace}/pod`;
  const base = bundleSpec('pod', ['/bin/sleep', '1000']);
  const spec = {
    typeUrl: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
    value: Buffer.from(JSON.stringify({ ...base, linux: { ...linux, cgroupsPath } })),
  };
  const runtime = { name: 'io.containerd.tsrunc.v2' };
  const sandbox = { sandboxId: 'pod', runtime, spec, sandboxer: 'shim' };
  const which = { sandboxId: 'pod', sandboxer: 'shim' };
  const bundles = join(machine.daemon.state, 'io.containerd.sandbox.controller.v1.shim');
  const bundle = join(bundles, machine.namespace, 'pod');
  const missing = [{ type: 'bind', source: '/no/such', options: ['bind'] }];
  await assert.rejects(controller.create({ ...which, sandbox, rootfs: missing }), {
    code: Code.UNKNOWN,
    details: `create sandbox pod: failed to mount rootfs component: mount bind on ${bundle}/rootfs: ENOENT`,
  });
  assert.equal(existsSync(bundle), false);
  await assert.rejects(controller.create({ ...which, sandbox: { ...sandbox, runtime: {} } }), {
    code: Code.INVALID_ARGUMENT,
  });

  await controller.create({ ...which, sandbox, rootfs: rootfs() });
  const { pid } = await controller.start(which);
  const shimPid = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  const wait = controller.wait(which);
  await controller.status(which); // by now the daemon has the call
  process.kill(shimPid, 'SIGKILL');
  assert.equal((await wait).exitStatus, 137);
  assert.equal(isAlive(pid), false);
  assert.equal((await controller.status(which)).state, '');
  assert.equal(existsSync(bundle), false);
  // Its id is free again; and a daemon that was killed in between finds a dead shim at its start.
  await controller.create({ ...which, sandbox, rootfs: rootfs() });
  const second = await controller.start(which);
  const parent = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${second.pid}/status`, 'utf8'))?.[1];
  await machine.daemon.kill('SIGKILL');
  process.kill(Number(parent), 'SIGKILL');
  await machine.restart();
  await until(() => !existsSync(bundle), 'the bundle to be removed');
  assert.equal(isAlive(second.pid), false);
  assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(machine.directory), false);
});

/** The topics of the sandboxes' events from now on. */
function subscribe(grpc: GrpcConnection) {
  const topics: string[] = [];
  const over = new AbortController();
  const filters = ['topic~="^/sandboxes/"'];
  const stream = grpc.service(Events).subscribe({ filters }, { signal: over.signal });
  const reading = (async () => {
    for await (const { topic } of stream) topics.push(topic);
  })().catch(() => {}); // cancelled, or its daemon was killed
  const end = (): Promise<void> => {
    over.abort();
    return reading;
  };
  return { topics, end };
}
