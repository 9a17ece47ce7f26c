// How daemons of three generations start our shim, and what a shim does when its daemon is away.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { packAny, unpackAny } from '../../internal/api/any.ts';
import { TaskExit } from '../../internal/api/generated/containerd.events.ts';
import { Options } from '../../internal/api/generated/containerd.runc.v1.ts';
import {
  BootstrapParams,
  BootstrapResult,
} from '../../internal/api/generated/containerd.runtime.bootstrap.v1.ts';
import { RuntimeInfo } from '../../internal/api/generated/containerd.types.ts';
import { Any } from '../../internal/api/generated/google.protobuf.ts';
import { locateCgroup } from '../../internal/cgroups/index.ts';
import { runBlocking } from '../../internal/linux/index.ts';
import {
  isAlive,
  modes,
  PlayedDaemon,
  runtimeProgram,
  shimProgram,
  skipWithout,
  until,
} from '../fixtures/shim.ts';

const SIGKILL = 9;
const skip = skipWithout('runc-1.3');

for (const runtime of modes) {
  const skip = skipWithout(runtime);

  test(`${runtime}: start answers a daemon of 1.x with the bare address`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/true']);
    assert.equal(shim.answer, `unix://${shim.socketPath}`);
    assert.match(shim.socketPath, /^\/run\/containerd\/s\/[0-9a-f]{64}$/);
  });

  test(`${runtime}: start answers a daemon of 1.7 and 2.x with JSON`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/true'], { env: { MAX_SHIM_VERSION: '2' } });
    const address = `unix://${shim.socketPath}`;
    assert.deepEqual(JSON.parse(shim.answer), { version: 2, address, protocol: 'ttrpc' });
  });

  test(`${runtime}: start answers a daemon of 2.3 in protobuf, in its directory of sockets`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const first = await daemon.shim(['/bin/true']);
    const socketDir = join(daemon.directory, 's');
    const params = BootstrapParams.encode({
      instanceId: 'c1',
      namespace: 'default',
      containerdTtrpcAddress: `${daemon.address}.ttrpc`,
      extensions: [{ value: packAny(Options, { binaryName: 'runc' }) }],
      socketDir,
    });
    const flags = ['-namespace', 'default', '-address', daemon.address, '-id', 'c1', 'start'];
    const result = spawnSync(shimProgram, flags, { cwd: first.bundle, input: params });
    const answer = BootstrapResult.decode(result.stdout);
    assert.deepEqual([answer.version, answer.protocol], [3, 'ttrpc']);
    assert.equal(dirname(answer.address), `unix://${socketDir}`);
    process.kill(first.pid, 'SIGKILL');
    await first.connect(); // to the new one, whose address is in the bundle now
  });

  test(`${runtime}: start puts tasks of one sandbox into one shim`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const annotations = { 'io.kubernetes.cri.sandbox-id': 'pod' };
    const first = await daemon.shim(['/bin/sleep', '1000'], { id: 'pod', annotations });
    const second = await daemon.shim(['/bin/sh', '-c', 'exit 3'], { id: 'c2', annotations });
    const alone = await daemon.shim(['/bin/true'], { id: 'c3' });
    assert.equal(second.pid, first.pid);
    assert.notEqual(alone.pid, first.pid);
    await first.create();
    await first.start();
    await second.create();
    await second.start();
    assert.equal(await second.wait(), 3);
    await second.task.delete({ id: 'c2' });
    await second.task.shutdown({ id: 'c2' });
    assert.equal((await first.task.state({ id: 'pod' })).pid > 0, true, 'the other task lives on');
    await first.task.kill({ id: 'pod', signal: SIGKILL });
    await first.wait();
    await first.finish();
  });

  test(`${runtime}: tasks of another namespace or daemon never share a shim`, {
    skip,
  }, async () => {
    await using one = await PlayedDaemon.start(runtime);
    await using other = await PlayedDaemon.start(runtime);
    const shims = [
      await one.shim(['/bin/true']),
      await one.shim(['/bin/true'], { namespace: 'else' }),
      await other.shim(['/bin/true']),
    ];
    assert.equal(new Set(shims.map(({ socketPath }) => socketPath)).size, 3);
  });

  test(`${runtime}: start removes a socket that nobody serves, and no other`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/true']);
    process.kill(shim.pid, 'SIGKILL');
    await until(() => !isAlive(shim.pid), 'the shim to die');
    assert.ok(existsSync(shim.socketPath));
    const again = await daemon.shim(['/bin/true']);
    assert.equal(again.socketPath, shim.socketPath);
    assert.notEqual(again.pid, shim.pid);
    const third = await daemon.shim(['/bin/true']);
    assert.equal(third.pid, again.pid);
  });

  test(`${runtime}: ten starts at once make one shim`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const annotations = { 'io.kubernetes.cri.sandbox-id': 'pod' };
    const shim = await daemon.shim(['/bin/true'], { annotations });
    process.kill(shim.pid, 'SIGKILL');
    await until(() => !isAlive(shim.pid), 'the shim to die');
    const flags = `-namespace default -address ${daemon.address} -id c1`;
    const script = `for i in 1 2 3 4 5 6 7 8 9 10; do "$0" ${flags} start </dev/null & done; wait`;
    const result = spawnSync('sh', ['-c', script, shimProgram], {
      cwd: shim.bundle,
      encoding: 'utf8',
    });
    assert.equal(result.stdout, `unix://${shim.socketPath}`.repeat(10), result.stderr);
    const serving = spawnSync('pgrep', ['-f', `-socket unix://${shim.socketPath}`], {
      encoding: 'utf8',
    });
    assert.equal(serving.stdout.trim().split('\n').length, 1);
    await shim.connect();
  });

  test(`${runtime}: the serving process is a daemon: own session, no terminal, no stream of its starter`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/true']);
    const stat = readFileSync(`/proc/${shim.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    assert.equal(Number(stat[3]), shim.pid, 'session');
    assert.equal(Number(stat[4]), 0, 'controlling terminal');
    for (const fd of [0, 1, 2]) {
      assert.equal(readlinkSync(`/proc/${shim.pid}/fd/${fd}`), '/dev/null');
    }
    assert.equal(readlinkSync(`/proc/${shim.pid}/cwd`), shim.bundle);
    assert.equal(readFileSync(`/proc/${shim.pid}/comm`, 'utf8'), 'containerd-shim\n');
    const oomScore = (pid: number | 'self') =>
      Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'));
    assert.equal(oomScore(shim.pid), oomScore('self') + 1);
  });

  test(`${runtime}: a descriptor that a daemon forgot to close does not reach containers (CVE-2024-21626)`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sh', '-c', 'ls -l /proc/self/fd']);
    process.kill(shim.pid, 'SIGKILL');
    await until(() => !isAlive(shim.pid), 'the shim to die');
    const script = `exec 7</etc 9</etc; exec "$0" -namespace default -address ${daemon.address} -id c1 start`;
    const started = spawnSync('sh', ['-c', script, shimProgram], { cwd: shim.bundle, input: '' });
    assert.equal(started.status, 0, started.stderr.toString());
    await shim.connect();
    const links = readdirSync(`/proc/${shim.pid}/fd`).map((fd) => {
      return readlinkSync(`/proc/${shim.pid}/fd/${fd}`);
    });
    assert.equal(links.includes('/etc'), false);
  });

  test(`${runtime}: ShimCgroup is where the serving process lives`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/true']);
    process.kill(shim.pid, 'SIGKILL');
    await until(() => !isAlive(shim.pid), 'the shim to die');
    const shimCgroup = `/shim-cgroup-${process.pid}`;
    const options = Buffer.from(Any.encode(packAny(Options, { shimCgroup })));
    const flags = ['-namespace', 'default', '-address', daemon.address, '-id', 'c1', 'start'];
    const started = spawnSync(shimProgram, flags, { cwd: shim.bundle, input: options });
    assert.equal(started.status, 0, started.stderr.toString());
    await shim.connect();
    const lines = readFileSync(`/proc/${shim.pid}/cgroup`, 'utf8').trim().split('\n');
    assert.ok(
      lines.some((line) => line.endsWith(`:${shimCgroup}`)),
      lines.join(', '),
    );
    process.kill(shim.pid, 'SIGKILL');
    await until(() => !isAlive(shim.pid), 'the shim to die');
    runBlocking(locateCgroup({ id: '', cgroupsPath: shimCgroup }).remove());
  });

  test(`${runtime}: the log of a shim goes to the fifo of its bundle`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/true']);
    process.kill(shim.pid, 'SIGKILL');
    await until(() => !isAlive(shim.pid), 'the shim to die');
    spawnSync('mkfifo', [join(shim.bundle, 'log')]);
    const script = `exec 3<>log; "$0" -debug -namespace default -address ${daemon.address} -id c1 start >/dev/null </dev/null
  timeout 10 head -n 1 <&3`;
    const env = { ...process.env, TTRPC_ADDRESS: `${daemon.address}.ttrpc` };
    const result = spawnSync('sh', ['-c', script, shimProgram], {
      cwd: shim.bundle,
      encoding: 'utf8',
      env,
    });
    assert.match(
      result.stdout,
      /^time="\S+" level=debug msg="serving" namespace=default id=c1 pid=\d+/,
    );
    await shim.connect();
  });

  test(`${runtime}: start says what is wrong, on stderr and by its exit code`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/true']);
    writeFileSync(join(shim.bundle, 'config.json'), '{"annotations":');
    const broken = daemon.command(['start']);
    assert.equal(broken.status, 1);
    assert.match(broken.stderr.toString(), /^containerd-shim-tsrunc-v2: config\.json: /);
    assert.equal(broken.stdout.length, 0);
    const garbage = daemon.command(['start'], {}, 'garbage');
    assert.equal(
      garbage.stderr.toString(),
      'containerd-shim-tsrunc-v2: stdin of start: neither bootstrap parameters nor options\n',
    );
  });

  test(`${runtime}: events wait for a daemon that is away, and come in their order`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sh', '-c', 'exit 4']);
    await shim.create();
    await until(() => daemon.topics.includes('/tasks/create'), 'the first event');
    daemon.close();
    await shim.start();
    assert.equal(await shim.wait(), 4);
    await daemon.listen();
    await until(() => daemon.topics.includes('/tasks/exit'), 'the last event');
    assert.deepEqual(daemon.topics, ['/tasks/create', '/tasks/start', '/tasks/exit']);
    assert.equal(daemon.decoded('/tasks/exit', TaskExit)[0]?.exitStatus, 4);
    await shim.finish();
  });

  test(`${runtime}: the socket is for its user alone (CVE-2020-15257)`, { skip }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/true']);
    const path = shim.socketPath;
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(dirname(path)).mode & 0o077, 0);
    const abstract = readFileSync('/proc/net/unix', 'utf8')
      .split('\n')
      .filter((line) => line.includes('@') && line.includes('shim'));
    assert.deepEqual(abstract, []);
    // Even one who gets through to the socket is looked at: modes are opened up for this test.
    const directory = statSync(dirname(path)).mode;
    chmodSync(dirname(path), 0o755);
    chmodSync(path, 0o666);
    try {
      const answer = spawnSync(
        process.execPath,
        [
          '-e',
          `const s = require('net').connect(${JSON.stringify(path)});
          s.on('connect', () => s.write('x')); s.on('error', (e) => console.log(e.code));
          s.on('close', () => console.log('closed'));`,
        ],
        { uid: 65534, gid: 65534, encoding: 'utf8', timeout: 10_000 },
      );
      assert.match(answer.stdout, /closed\n$/);
    } finally {
      chmodSync(dirname(path), directory & 0o777);
    }
    await shim.task.connect({ id: 'c1' });
  });

  test(`${runtime}: garbage and a thousand connections do not disturb a shim`, {
    skip,
  }, async () => {
    await using daemon = await PlayedDaemon.start(runtime);
    const shim = await daemon.shim(['/bin/sleep', '1000']);
    await shim.create();
    await shim.start();
    const sockets = Array.from({ length: 1000 }, (_, index) => {
      const socket = connect(shim.socketPath);
      socket.on('error', () => {}); // the shim may close what sends garbage
      socket.write(Buffer.alloc(1 + (index % 50), index % 256));
      return socket;
    });
    await until(() => sockets.every((socket) => !socket.connecting), 'the connections', 30_000);
    assert.equal((await shim.task.state({ id: 'c1' })).execId, '');
    for (const socket of sockets) socket.destroy();
    const openFds = (): number =>
      spawnSync('ls', [`/proc/${shim.pid}/fd`])
        .stdout.toString()
        .split('\n').length;
    await until(() => openFds() < 60, 'the connections to be forgotten');
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    assert.equal(await shim.wait(), 137);
    await shim.finish();
  });
}

test('-info tells of the runtime that the options name', { skip }, () => {
  const options = packAny(Options, { binaryName: runtimeProgram('runc-1.3') });
  const result = spawnSync(shimProgram, ['-info'], { input: Any.encode(options), cwd: '/tmp' });
  assert.equal(result.status, 0, result.stderr.toString());
  const info = RuntimeInfo.decode(result.stdout);
  assert.equal(info.name, 'io.containerd.tsrunc.v2');
  assert.equal(unpackAny(info.options, Options)?.binaryName, runtimeProgram('runc-1.3'));
  const features = JSON.parse(Buffer.from(info.features?.value ?? []).toString()) as object;
  assert.ok('ociVersionMin' in features);
});
