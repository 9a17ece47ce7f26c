// checkpoint and restore, by CRIU: what was running goes on in a new process. What runc 1.3 does as well is tried with it too.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, type TestContext, test } from 'node:test';
import {
  acceptUnix,
  listenUnix,
  type MountInfo,
  type OwnedFd,
  Pipe,
  readMountInfo,
  receiveFds,
  unmountAll,
  waitReadable,
} from '../../internal/linux/index.ts';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import { type Config, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';
import { machineOnly } from '../vm/machine.ts';

const skip = useCriu();
const fixtures: RuntimeFixture[] = [];
after(() => {
  for (const fixture of fixtures) fixture[Symbol.dispose]();
});

/** In the virtual machine all is ten times slower. */
const DEADLINE_MS = machineOnly() === false ? 180_000 : 30_000;

function newFixture(command?: string[]): RuntimeFixture {
  const fixture = new RuntimeFixture(command);
  fixtures.push(fixture);
  return fixture;
}

const ours = skip === false ? newFixture() : undefined;

/** A container that counts in its /tmp/count, many times a second. */
const COUNTER = 'while :; do echo >> /tmp/count; sleep 0.05; done';

function configureCounter(
  fixture: RuntimeFixture,
  change: (config: Config) => void = () => {},
): void {
  rmSync(join(fixture.rootfs, 'tmp/count'), { force: true });
  fixture.configure((config) => {
    config.process.args = ['sh', '-c', COUNTER];
    config.annotations = criuAnnotations(fixture.directory);
    change(config);
  });
}

const count = (fixture: RuntimeFixture): number => {
  const path = join(fixture.rootfs, 'tmp/count');
  return existsSync(path) ? statSync(path).size : 0;
};

/** Waits until it is true; says what it waited for. */
async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!condition()) {
    if (Date.now() > deadline) assert.fail(`timed out: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function succeed(fixture: RuntimeFixture, args: string[]): void {
  const { status, error } = fixture.runDetached(args);
  assert.equal(status, 0, `${args[0]}: ${error}`);
}

const pidOf = (fixture: RuntimeFixture, id: string): number =>
  JSON.parse(fixture.run(['state', id]).stdout).pid;

async function startCounter(fixture: RuntimeFixture, id: string): Promise<void> {
  succeed(fixture, ['run', '-d', id]);
  await until('the counter counts', () => count(fixture) > 2);
}

function images(fixture: RuntimeFixture, name = 'images'): string[] {
  const path = join(fixture.directory, name);
  return ['--image-path', path, '--work-path', `${path}.work`];
}

const runc = peer('runc-1.3');
const runtimes: [string, false | string, () => RuntimeFixture][] = [
  ['tsrunc', skip, () => ours as RuntimeFixture],
  ['runc', skip || runc.skip, () => newFixture([runc.path])],
];

for (const [name, reason, fixtureOf] of runtimes) {
  test(`${name}: a counter is checkpointed, is gone, and goes on counting`, {
    skip: reason,
  }, async () => {
    const fixture = fixtureOf();
    const id = fixture.newId('counter');
    const pidFile = join(fixture.directory, 'pid');
    const hostDirectory = join(fixture.directory, 'volume');
    mkdirSync(hostDirectory);
    writeFileSync(join(hostDirectory, 'hook.sh'), '#!/bin/sh\ncat >> "$1"\necho >> "$1"\n', {
      mode: 0o755,
    });
    const hooked = join(fixture.directory, 'hooked');
    configureCounter(fixture, (config) => {
      config.mounts.push({
        destination: '/volume',
        type: 'bind',
        source: hostDirectory,
        options: ['rbind', 'ro'],
      });
      const hook = { path: join(hostDirectory, 'hook.sh'), args: ['hook', hooked] };
      config.hooks = { prestart: [hook], createRuntime: [hook] };
    });
    await startCounter(fixture, id);
    rmSync(hooked);
    const before = count(fixture);
    succeed(fixture, ['checkpoint', ...images(fixture), id]);
    assert.equal(fixture.run(['state', id]).status, 1);
    assert.deepEqual(fixture.leftovers(id), []);
    const stopped = count(fixture);
    assert.ok(stopped >= before);
    assert.equal(statSync(join(fixture.directory, 'images/inventory.img')).isFile(), true);

    succeed(fixture, ['restore', '-d', '--pid-file', pidFile, ...images(fixture), id]);
    const state = JSON.parse(fixture.run(['state', id]).stdout);
    assert.equal(state.status, 'running');
    assert.equal(readFileSync(pidFile, 'utf8'), String(state.pid));
    await until('it counts on', () => count(fixture) > stopped + 2);
    assert.equal(fixture.run(['exec', id, 'cat', '/volume/hook.sh']).status, 0);
    const states = readFileSync(hooked, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      states.map((each) => [each.id, each.pid]),
      [
        [id, state.pid],
        [id, state.pid],
      ],
    );
    succeed(fixture, ['delete', '--force', id]);
    assert.deepEqual(fixture.leftovers(id), []);
  });

  test(`${name}: what runs in a paused container is checkpointed too`, {
    skip: reason,
  }, async () => {
    const fixture = fixtureOf();
    const id = fixture.newId('paused');
    configureCounter(fixture);
    await startCounter(fixture, id);
    succeed(fixture, ['pause', id]);
    succeed(fixture, ['checkpoint', ...images(fixture, 'paused'), id]);
    const stopped = count(fixture);
    succeed(fixture, ['restore', '-d', ...images(fixture, 'paused'), id]);
    await until('it counts on', () => count(fixture) > stopped);
    succeed(fixture, ['delete', '--force', id]);
  });

  test(`${name}: --leave-running: the container goes on, and its image can be restored later`, {
    skip: reason,
  }, async () => {
    const fixture = fixtureOf();
    const id = fixture.newId('left');
    configureCounter(fixture);
    await startCounter(fixture, id);
    const pid = pidOf(fixture, id);
    succeed(fixture, ['checkpoint', '--leave-running', ...images(fixture, 'left'), id]);
    assert.equal(pidOf(fixture, id), pid);
    const now = count(fixture);
    await until('it counts on', () => count(fixture) > now);
    succeed(fixture, ['delete', '--force', id]);
    const other = fixture.newId('left');
    succeed(fixture, ['restore', '-d', ...images(fixture, 'left'), other]);
    await until('the restored one counts', () => count(fixture) > now);
    const cgroups = readFileSync(`/proc/${pidOf(fixture, other)}/cgroup`, 'utf8');
    succeed(fixture, ['delete', '--force', other]);
    assert.deepEqual(fixture.leftovers(other), []);
    if (name !== 'tsrunc') return; // runc leaves the v2 tree's to CRIU
    assert.equal(cgroups.includes(id), false, cgroups);
    assert.deepEqual(fixture.leftovers(id), []);
  });

  test(`${name}: output goes on into the pipe that the restore was given`, {
    skip: reason,
  }, async () => {
    const fixture = fixtureOf();
    const id = fixture.newId('pipe');
    fixture.configure((config) => {
      config.process.args = [
        'sh',
        '-c',
        'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done',
      ];
      config.annotations = criuAnnotations(fixture.directory);
    });
    const first = await linesOf(fixture, ['run', id], 3);
    succeed(fixture, ['checkpoint', ...images(fixture, 'pipe'), id]);
    assert.notEqual(await first.exit, 0);
    const second = await linesOf(fixture, ['restore', ...images(fixture, 'pipe'), id], 3);
    const last = Number(/\d+/.exec(first.lines.at(-1) ?? '')?.[0]);
    assert.deepEqual(
      second.lines.slice(0, 3).map((line) => Number(/^line (\d+)$/.exec(line)?.[1])),
      [last + 1, last + 2, last + 3],
    );
    assert.equal(fixture.run(['kill', id, 'KILL']).status, 0);
    assert.equal(await second.exit, 137);
    assert.equal(fixture.run(['state', id]).status, 1);
  });

  test(`${name}: --pre-dump and --parent-path`, { skip: reason }, async (context) => {
    const fixture = fixtureOf();
    const id = fixture.newId('pre');
    configureCounter(fixture);
    await startCounter(fixture, id);
    const pre = fixture.run(['checkpoint', '--pre-dump', ...images(fixture, 'pre'), id]);
    if (pre.status !== 0) {
      assert.match(pre.error, /missing features: \[?[Mm]emTrack/);
      succeed(fixture, ['delete', '--force', id]);
      return context.skip(
        'this kernel does not track memory: criu check --feature mem_dirty_track',
      );
    }
    const now = count(fixture);
    await until('it counts on', () => count(fixture) > now);
    succeed(fixture, ['checkpoint', '--parent-path', '../pre', ...images(fixture, 'whole'), id]);
    assert.ok(existsSync(join(fixture.directory, 'whole/parent')));
    const stopped = count(fixture);
    succeed(fixture, ['restore', '-d', ...images(fixture, 'whole'), id]);
    await until('it counts on', () => count(fixture) > stopped);
    succeed(fixture, ['delete', '--force', id]);
  });

  test(`${name}: a terminal comes through the console socket again`, { skip: reason }, async () => {
    const fixture = fixtureOf();
    const id = fixture.newId('terminal');
    fixture.configure((config) => {
      config.process.terminal = true;
      config.process.args = [
        'sh',
        '-c',
        'i=0; while read line; do i=$((i+1)); echo $i $line; done',
      ];
      config.annotations = criuAnnotations(fixture.directory);
    });
    {
      using master = await withConsole(fixture, ['run', '-d', id]);
      writeFileSync(master.number, 'one\n');
      await readUntil(master, /1 one/);
      succeed(fixture, ['checkpoint', ...images(fixture, 'terminal'), id]);
    }
    using master = await withConsole(fixture, [
      'restore',
      '-d',
      ...images(fixture, 'terminal'),
      id,
    ]);
    writeFileSync(master.number, 'two\n');
    await readUntil(master, /2 two/);
    succeed(fixture, ['delete', '--force', id]);
  });
}

/** Runs a command whose stdout is a pipe (Node's own are sockets) until some lines are there. */
async function linesOf(fixture: RuntimeFixture, args: string[], least: number) {
  const [program = '', ...prefix] = fixture.command;
  const pipe = new Pipe();
  const child = spawn(program, [...prefix, '--root', fixture.stateRoot, ...args], {
    stdio: ['ignore', pipe.writeEnd.number, 'ignore'],
    cwd: fixture.bundle,
  });
  pipe.writeEnd.close();
  const exit = new Promise<number>((resolve) => child.on('exit', (code) => resolve(code ?? -1)));
  const lines: string[] = [];
  const stream = createReadStream('', { fd: pipe.readEnd.release() });
  createInterface(stream).on('line', (line) => lines.push(line));
  await until(`${args[0]} writes lines`, () => lines.length >= least);
  return { lines, exit };
}

/** Listens on a console socket while a command runs; returns the terminal's master. */
async function withConsole(fixture: RuntimeFixture, args: string[]): Promise<OwnedFd> {
  const path = join(fixture.directory, `console-${Math.random().toString(36).slice(2)}`);
  using listener = listenUnix(path);
  const [program = '', ...prefix] = fixture.command;
  const [command = '', ...rest] = args;
  const argv = [...prefix, '--root', fixture.stateRoot, command, '--console-socket', path, ...rest];
  const child = spawn(program, argv, {
    stdio: ['ignore', 'inherit', 'inherit'],
    cwd: fixture.bundle,
  });
  const status = new Promise((resolve) => child.on('exit', resolve));
  await waitReadable(listener.number, AbortSignal.timeout(DEADLINE_MS));
  using connection = acceptUnix(listener);
  const { fds } = receiveFds(connection.number);
  assert.equal(await status, 0);
  assert.equal(fds.length, 1);
  return fds[0] as OwnedFd;
}

async function readUntil(master: OwnedFd, expected: RegExp): Promise<void> {
  const buffer = Buffer.alloc(4096);
  let text = '';
  while (!expected.test(text)) {
    await waitReadable(master.number, AbortSignal.timeout(DEADLINE_MS));
    text += buffer.toString('utf8', 0, readSync(master.number, buffer));
  }
}

function fixture(): RuntimeFixture {
  assert.ok(ours);
  return ours;
}

function hostDevices(): Set<string> {
  return new Set(readMountInfo().map(({ major, minor }) => `${major}:${minor}`));
}

/** What can be said of mounts before and after: all but the numbers that the kernel gives. */
function mountsOf(mounts: readonly MountInfo[], hostDevices: ReadonlySet<string>): string[] {
  return mounts
    .map(({ major, minor, root, mountPoint, options, type }) => {
      const device = `${major}:${minor}`;
      const known = hostDevices.has(device) ? device : 'own';
      return `${mountPoint} ${type} ${known} ${root} ${options.join(',')}`;
    })
    .sort();
}

test('the mounts after a restore are those of before, with their options', { skip }, async () => {
  const id = fixture().newId('mounts');
  const volume = join(fixture().directory, 'volumes');
  mkdirSync(join(volume, 'a'), { recursive: true });
  mkdirSync(join(volume, 'b'));
  configureCounter(fixture(), (config) => {
    const bind = (destination: string, name: string, ...options: string[]) =>
      config.mounts.push({
        destination,
        type: 'bind',
        source: join(volume, name),
        options: ['rbind', ...options],
      });
    bind('/one', 'a', 'ro', 'nosuid');
    bind('/two', 'a', 'rw');
    bind('/three', 'b', 'nodev', 'noexec');
    config.mounts.push({
      destination: '/cache',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['size=1m'],
    });
    config.linux.maskedPaths = [
      '/proc/keys',
      '/proc/timer_list',
      '/proc/latency_stats',
      '/sys/firmware',
    ];
  });
  await startCounter(fixture(), id);
  const devicesBefore = hostDevices();
  const before = readMountInfo(pidOf(fixture(), id));
  succeed(fixture(), ['checkpoint', ...images(fixture(), 'mounts'), id]);
  succeed(fixture(), ['restore', '-d', ...images(fixture(), 'mounts'), id]);
  // The number of a mount that others had for a moment may be the container's now.
  const devices = hostDevices().intersection(devicesBefore);
  const after = readMountInfo(pidOf(fixture(), id));
  assert.deepEqual(mountsOf(after, devices), mountsOf(before, devices));
  succeed(fixture(), ['delete', '--force', id]);
});

test('mounts of others that come and go meanwhile are not taken for those of the container', {
  skip,
}, async (context: TestContext) => {
  const id = fixture().newId('beside');
  const place = join(fixture().directory, 'passing');
  mkdirSync(place);
  // As many as the container has, so that any of its mounts may get the number of one that is gone.
  const each = (command: string) => `for i in 1 2 3 4 5 6 7 8; do ${command}; done`;
  const loop = `while :; do ${each(`mount -t tmpfs passing ${place}`)}; ${each(`umount ${place}`)}; done`;
  const others = spawn('sh', ['-c', loop], { stdio: 'ignore', detached: true });
  const ended = once(others, 'exit');
  context.after(async () => {
    process.kill(-(others.pid ?? 0), 'SIGKILL');
    await ended;
    unmountAll(place);
  });
  configureCounter(fixture(), (config) => {
    config.linux.maskedPaths = ['firmware', 'module', 'power', 'block'].map(
      (name) => `/sys/${name}`,
    );
  });
  await startCounter(fixture(), id);
  for (let round = 0; round < 12; round++) {
    const files = images(fixture(), `beside-${round}`);
    succeed(fixture(), ['checkpoint', ...files, id]);
    succeed(fixture(), ['restore', '-d', ...files, id]);
  }
  succeed(fixture(), ['delete', '--force', id]);
});

test('TCP: refused with the option that is lacking; with it a connection lives on', {
  skip,
}, async () => {
  const busybox = peer('busybox');
  if (busybox.skip !== false) return;
  const id = fixture().newId('tcp');
  writeFileSync(join(fixture().rootfs, 'bin/nc'), readFileSync(busybox.path), { mode: 0o755 });
  fixture().configure((config) => {
    const server = 'sleep 1000 | nc -l -p 5000 > /tmp/got &';
    const client =
      'sleep 1; (i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done) | nc 127.0.0.1 5000';
    config.process.args = ['sh', '-c', `${server} ${client}`];
    config.annotations = criuAnnotations(fixture().directory);
  });
  const got = () => {
    const path = join(fixture().rootfs, 'tmp/got');
    return existsSync(path) ? statSync(path).size : 0;
  };
  succeed(fixture(), ['run', '-d', id]);
  await until('the server gets something', () => got() > 8);
  const refused = fixture().run(['checkpoint', ...images(fixture(), 'tcp'), id]);
  assert.equal(refused.status, 1);
  assert.match(
    refused.error,
    /^checkpoint \S+: criu: .*consider using --tcp-established option.*: see \S+tcp\.work\/dump\.log$/,
  );
  const size = got();
  await until('it runs on after the refusal', () => got() > size);
  succeed(fixture(), ['checkpoint', '--tcp-established', ...images(fixture(), 'tcp'), id]);
  const stopped = got();
  succeed(fixture(), ['restore', '-d', '--tcp-established', ...images(fixture(), 'tcp'), id]);
  await until('the connection lives on', () => got() > stopped);
  succeed(fixture(), ['delete', '--force', id]);
});

const WRONG: [string[], RegExp][] = [
  [['--parent-path', '/abs'], /^--parent-path must be relative$/],
  [['--parent-path', 'gone'], /^invalid --parent-path: open \S+\/wrong\/gone: ENOENT/],
  [
    ['--manage-cgroups-mode', 'hard'],
    /^--manage-cgroups-mode "hard" is not soft, full, strict or ignore$/,
  ],
  [['--empty-ns', 'pid'], /^namespace "pid" is not supported: only --empty-ns network is known$/],
  [['--page-server', 'nowhere'], /^Use --page-server ADDRESS:PORT to specify page server$/],
  [['--image-path', '/proc/version'], /^open --image-path \/proc\/version: EEXIST/],
];

test('what a checkpoint refuses leaves the container running', { skip }, async () => {
  const id = fixture().newId('wrong');
  configureCounter(fixture());
  succeed(fixture(), ['create', id]);
  const created = fixture().run(['checkpoint', ...images(fixture(), 'wrong'), id]);
  assert.equal(created.error, `container ${id} cannot be checkpointed in created state`);
  succeed(fixture(), ['start', id]);
  await until('the counter counts', () => count(fixture()) > 2);
  for (const [args, expected] of WRONG) {
    const { status, error } = fixture().run([
      'checkpoint',
      ...images(fixture(), 'wrong'),
      ...args,
      id,
    ]);
    assert.equal(status, 1, args.join(' '));
    assert.match(error, expected);
  }
  const env = { ...process.env, PATH: '/nowhere' };
  const without = fixture().run(['checkpoint', ...images(fixture(), 'wrong'), id], { env });
  if (!existsSync('/usr/sbin/criu')) {
    assert.equal(
      without.error,
      'exec: "criu": executable file not found in $PATH: install CRIU 3.16 or newer (the package criu of most distributions)',
    );
  }
  const now = count(fixture());
  if (existsSync('/usr/sbin/criu')) return succeed(fixture(), ['delete', '--force', id]);
  await until('it counts on', () => count(fixture()) > now);
  succeed(fixture(), ['delete', '--force', id]);
});

test('a restore that fails leaves nothing but the log', { skip }, () => {
  const id = fixture().newId('nothing');
  configureCounter(fixture());
  const missing = fixture().run(['restore', '-d', ...images(fixture(), 'missing'), id]);
  assert.match(missing.error, /^open --image-path \S+\/missing: ENOENT/);
  mkdirSync(join(fixture().directory, 'empty'));
  const noDescriptors = fixture().run(['restore', '-d', ...images(fixture(), 'empty'), id]);
  assert.match(noDescriptors.error, /^read \S+\/empty\/descriptors\.json: ENOENT/);
  writeFileSync(join(fixture().directory, 'empty/descriptors.json'), '[]');
  const empty = fixture().run(['restore', '-d', ...images(fixture(), 'empty'), id]);
  assert.match(
    empty.error,
    /^restore \S+: criu: Unexpected EOF on \(empty-image\): see \S+restore\.log$/,
  );
  assert.ok(existsSync(join(fixture().directory, 'empty.work/restore.log')));
  assert.deepEqual(fixture().leftovers(id), []);
});

test('a network namespace by its path is left as it is and joined again', {
  skip,
}, async (context: TestContext) => {
  const holder = fixture().newId('holder');
  fixture().startSleeping(holder);
  const path = `/proc/${pidOf(fixture(), holder)}/ns/net`;
  const id = fixture().newId('joined');
  configureCounter(fixture(), (config) => {
    config.linux.namespaces.find(({ type }: Config) => type === 'network').path = path;
  });
  await startCounter(fixture(), id);
  succeed(fixture(), ['checkpoint', ...images(fixture(), 'joined'), id]);
  succeed(fixture(), ['restore', '-d', ...images(fixture(), 'joined'), id]);
  const inode = (pid: number) => statSync(`/proc/${pid}/ns/net`).ino;
  assert.equal(inode(pidOf(fixture(), id)), inode(pidOf(fixture(), holder)));
  const stopped = count(fixture());
  await until('it counts on', () => count(fixture()) > stopped);
  context.diagnostic(`joined ${path}`);
  succeed(fixture(), ['delete', '--force', id]);
  succeed(fixture(), ['delete', '--force', holder]);
});
