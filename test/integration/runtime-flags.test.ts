// What flags of create, run and exec do, seen from outside and from inside; runc does the same where it is there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { acceptUnix, listenUnix, receiveFds, waitReadable } from '../../internal/linux/index.ts';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { isAlive, until } from '../fixtures/shim.ts';
import { peer } from '../peers/index.ts';

const runc = peer('runc-1.3');
const fixtures: RuntimeFixture[] = [];
after(() => {
  for (const each of fixtures) each[Symbol.dispose]();
});
const runtimes: readonly [string, string | false, readonly string[] | undefined][] = [
  ['tsrunc', needsRoot, undefined],
  ['runc', needsRoot || runc.skip, [runc.path]],
];

function fixture(command: readonly string[] | undefined): RuntimeFixture {
  const made = new RuntimeFixture(command);
  fixtures.push(made);
  return made;
}

let sockets = 0;

/** Runs a command that sends a pidfd to the socket it is given; returns what came, and the pid behind the fd. */
async function pidfdOf(
  runtime: RuntimeFixture,
  args: (socket: string) => readonly string[],
): Promise<{ data: string; pid: number }> {
  const path = join(runtime.directory, `pidfd-${++sockets}.sock`);
  using listener = listenUnix(path);
  const [program = '', ...prefix] = runtime.command;
  const child = spawn(program, [...prefix, '--root', runtime.stateRoot, ...args(path)], {
    stdio: ['ignore', 'ignore', 'inherit'],
    cwd: runtime.bundle,
  });
  const exit = new Promise<number | null>((resolve) => child.on('exit', resolve));
  const failed = exit.then((status) => assert.equal(status, 0));
  await Promise.race([waitReadable(listener.number), failed]);
  using connection = acceptUnix(listener);
  const { data, fds } = receiveFds(connection.number);
  const [pidfd, ...others] = fds;
  assert.ok(pidfd !== undefined && others.length === 0);
  using owned = pidfd;
  const info = readFileSync(`/proc/self/fdinfo/${owned.number}`, 'latin1');
  assert.equal(await exit, 0);
  return { data: data.toString(), pid: Number(/^Pid:\s+(\d+)$/m.exec(info)?.[1]) };
}

const pidIn = (file: string) => Number(readFileSync(file, 'latin1'));

for (const [name, skip, command] of runtimes) {
  test(`${name}: --pidfd-socket of create, run and exec refers to the process`, {
    skip,
  }, async () => {
    const runtime = fixture(command);
    runtime.configure((config) => {
      config.process.args = ['sleep', '1000'];
    });
    const file = join(runtime.directory, 'pid');
    const created = runtime.newId(`created-${name}`);
    const ofCreate = await pidfdOf(runtime, (socket) => [
      ...['create', '--pidfd-socket', socket, '--pid-file', file, created],
    ]);
    assert.equal(ofCreate.pid, pidIn(file));
    const running = runtime.newId(`running-${name}`);
    const ofRun = await pidfdOf(runtime, (socket) => [
      ...['run', '--detach', '--pidfd-socket', socket, '--pid-file', file, running],
    ]);
    assert.equal(ofRun.pid, pidIn(file));
    const ofExec = await pidfdOf(runtime, (socket) => [
      ...['exec', '--detach', '--pidfd-socket', socket, '--pid-file', file, running],
      ...['sleep', '1000'],
    ]);
    assert.equal(ofExec.pid, pidIn(file));
    assert.deepEqual([ofCreate.data, ofRun.data, ofExec.data], ['standard', 'standard', 'setns']);
    for (const id of [created, running]) {
      assert.equal(runtime.run(['delete', '--force', id]).status, 0);
    }
    assert.equal(isAlive(ofExec.pid), false);
  });

  test(`${name}: --no-new-keyring leaves the caller's session keyring`, { skip }, () => {
    const runtime = fixture(command);
    const keyringOf = (...flags: string[]) => {
      const id = runtime.newId(`keys-${name}`);
      runtime.configure((config) => {
        config.process.args = ['grep', '-c', ` _ses\\.${id}`, '/proc/keys'];
        config.linux.maskedPaths = [];
      });
      return runtime.run(['run', ...flags, id]).stdout;
    };
    assert.equal(keyringOf(), '1\n');
    assert.equal(keyringOf('--no-new-keyring'), '0\n');
  });

  test(`${name}: --no-subreaper: what outlives its parent does not become run's child`, {
    skip,
  }, async () => {
    const runtime = fixture(command);
    runtime.configure((config) => {
      // Without a pid namespace of its own an orphan goes to the nearest subreaper.
      config.linux.namespaces = config.linux.namespaces.filter(
        ({ type }: { type: string }) => type !== 'pid',
      );
      // Its pid is told once its parent has ended.
      const script = '(sleep 1000 & echo $! > /pid); mv /pid /orphan; exec sleep 1000';
      config.process.args = ['sh', '-c', script];
    });
    const orphan = join(runtime.rootfs, 'orphan');
    for (const flags of [[], ['--no-subreaper']]) {
      const id = runtime.newId(`orphan-${name}`);
      const [program = '', ...prefix] = runtime.command;
      const args = [...prefix, '--root', runtime.stateRoot, 'run', ...flags, id];
      const child = spawn(program, args, { stdio: 'ignore', cwd: runtime.bundle });
      const exit = new Promise((resolve) => child.on('exit', resolve));
      const parentOf = () => {
        const status = existsSync(orphan) ? readFileSync(orphan, 'latin1').trim() : '';
        if (status === '') return 0;
        const text = readFileSync(`/proc/${status}/status`, 'latin1');
        return Number(/^PPid:\s+(\d+)$/m.exec(text)?.[1]);
      };
      await until(() => parentOf() !== 0, 'the orphan');
      const parent = parentOf();
      if (flags.length === 0) assert.equal(parent, child.pid);
      else assert.notEqual(parent, child.pid);
      assert.equal(runtime.run(['kill', '--all', id, 'KILL']).status, 0);
      await exit;
      runtime.run(['delete', '--force', id]);
      rmSync(orphan, { force: true }); // the next container shall not find the last one's
    }
  });

  test(`${name}: --no-pivot: the process is in its root, which pivot_root was not asked for`, {
    skip,
  }, () => {
    const runtime = fixture(command);
    runtime.configure((config) => {
      config.process.args = ['sh', '-c', 'ls -d /bin && wc -l < /proc/self/mountinfo; ls /..'];
    });
    const pivoted = runtime.run(['run', runtime.newId()]);
    const moved = runtime.run(['run', '--no-pivot', runtime.newId()]);
    assert.deepEqual([pivoted.status, moved.status], [0, 0]);
    assert.equal(moved.stdout.split('\n')[0], '/bin');
    assert.ok(moved.stdout.includes(pivoted.stdout.split('\n').slice(2).join('\n')));
  });
}

const noApparmor =
  !existsSync('/sys/kernel/security/apparmor') &&
  !existsSync('/sys/module/apparmor/parameters/enabled');
const noSelinux = !existsSync('/sys/fs/selinux/enforce');

test('exec --apparmor, --process-label: refused by name where the module is not there', {
  skip: needsRoot || (!(noApparmor && noSelinux) && 'this machine has AppArmor or SELinux'),
}, () => {
  const runtime = fixture(undefined);
  const id = runtime.newId('labels');
  runtime.startSleeping(id);
  const apparmor = runtime.run(['exec', '--apparmor', 'docker-default', id, 'true']);
  assert.deepEqual(
    [apparmor.status, apparmor.error],
    [
      255,
      'config.json: process.apparmorProfile: is given, but AppArmor is disabled or not supported',
    ],
  );
  const label = runtime.run(['exec', '--process-label', 'system_u:system_r:x_t:s0', id, 'true']);
  assert.deepEqual(
    [label.status, label.error],
    [255, 'config.json: process.selinuxLabel: is given, but SELinux is disabled or not supported'],
  );
  assert.equal(
    runtime.run(['exec', '--apparmor', '', '--process-label', '', id, 'true']).status,
    0,
  );
});
