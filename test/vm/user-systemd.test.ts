// Containers of an unprivileged user whose own systemd has cgroups delegated to it: with that systemd as the driver, and
// with the cgroup files alone. runc does the same beside it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { layoutHere, machineOnly } from './machine.ts';

const UID = 1000; // the machine's user "tester"
const RUNTIME_DIRECTORY = `/run/user/${UID}`;
const TOP = `/sys/fs/cgroup/user.slice/user-${UID}.slice/user@${UID}.service`;
const skip = machineOnly() || (layoutHere() !== 'v2' && 'cgroup v2 only: v1 cannot be delegated');
const fixture = skip === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const bundle = join(fixture?.directory ?? '', 'bundle-of-user');
const [program = '', ...prefix] = fixture?.command ?? [];
const tsrunc = [program, ...prefix];
const session = {
  PATH: process.env['PATH'],
  XDG_RUNTIME_DIR: RUNTIME_DIRECTORY,
  DBUS_SESSION_BUS_ADDRESS: `unix:path=${RUNTIME_DIRECTORY}/bus`,
};

interface CallOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly stdio?: 'pipe' | 'ignore';
}

function asUser(command: readonly string[], { env = session, stdio = 'pipe' }: CallOptions = {}) {
  const [program = '', ...args] = command;
  const user = { uid: UID, gid: UID, cwd: bundle, env };
  const streams: ['ignore', 'pipe' | 'ignore', 'pipe' | 'ignore'] = ['ignore', stdio, stdio];
  return spawnSync(program, args, { ...user, stdio: streams, encoding: 'utf8', timeout: 120_000 });
}

/** A call of a runtime with the user's systemd as its driver. */
function call(command: readonly string[], args: readonly string[], options: CallOptions = {}) {
  const root = ['--root', join(bundle, 'state'), '--systemd-cgroup'];
  return asUser([...command, ...root, ...args], options);
}

function configure(args: readonly string[], change: (config: Config) => void = () => {}): void {
  const path = join(bundle, 'config.json');
  const config = JSON.parse(readFileSync(join(bundle, 'spec.json'), 'utf8')) as Config;
  config.process.terminal = false;
  config.process.args = args;
  config.root.path = runtime.rootfs;
  config.linux.resources = { memory: { limit: 64 << 20 }, pids: { limit: 44 } };
  change(config);
  writeFileSync(path, JSON.stringify(config));
}

before(async () => {
  if (fixture === undefined) return;
  chmodSync(runtime.directory, 0o755);
  mkdirSync(bundle);
  chownSync(bundle, UID, UID);
  assert.equal(spawnSync('loginctl', ['enable-linger', 'tester']).status, 0);
  for (let tries = 0; !existsSync(`${RUNTIME_DIRECTORY}/bus`); tries++) {
    assert.ok(tries < 600, "the user's systemd does not come up");
    await delay(100);
  }
  assert.equal(asUser([...tsrunc, 'spec', '--rootless']).stderr, '');
  writeFileSync(join(bundle, 'spec.json'), readFileSync(join(bundle, 'config.json')));
});
after(() => {
  if (fixture === undefined) return;
  call(tsrunc, ['delete', '--force', 'long']);
  fixture[Symbol.dispose]();
});

const READ = 'cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max /proc/self/cgroup';

for (const [name, command] of [
  ['tsrunc', tsrunc],
  ['runc', ['/usr/sbin/runc']],
] as const) {
  test(`${name} --systemd-cgroup run: limits apply to the scope`, { skip }, () => {
    configure(['sh', '-c', READ], (config) => {
      config.linux.cgroupsPath = 'user.slice:mine:limited';
    });
    const { stdout, stderr, status } = call(command, ['run', 'limited']);
    assert.deepEqual([status, stdout], [0, '44\n67108864\n0::/\n'], stderr);
    assert.equal(existsSync(`${TOP}/user.slice/mine-limited.scope`), false);
  });
}

test('create, start, exec, update, pause, resume, ps, events, kill, delete', { skip }, () => {
  configure(['sleep', '1000']);
  const id = 'long';
  const scope = `${TOP}/user.slice/tsrunc-${id}.scope`;
  assert.equal(call(tsrunc, ['create', id], { stdio: 'ignore' }).status, 0);
  const ok = (...args: string[]): string => {
    const { status, stdout, stderr } = call(tsrunc, args);
    assert.deepEqual([status, stderr], [0, ''], args.join(' '));
    return stdout;
  };
  ok('start', id);
  const { pid } = JSON.parse(ok('state', id));
  assert.equal(readFileSync(`/proc/${pid}/cgroup`, 'latin1'), `0::${scope.slice(14)}\n`);
  const show = ['systemctl', '--user', 'show', `tsrunc-${id}.scope`];
  const property = (name: string) => asUser([...show, '--value', '--property', name]).stdout.trim();
  assert.deepEqual([property('TasksMax'), property('MemoryMax')], ['44', '67108864']);
  assert.equal(ok('exec', id, 'cat', '/proc/self/cgroup'), '0::/\n');
  ok('update', '--pids-limit', '55', '--memory', '83886080', id);
  assert.deepEqual([property('TasksMax'), property('MemoryMax')], ['55', '83886080']);
  assert.equal(readFileSync(`${scope}/memory.max`, 'latin1'), '83886080\n');
  ok('pause', id);
  assert.equal(JSON.parse(ok('state', id)).status, 'paused');
  ok('resume', id);
  assert.deepEqual(JSON.parse(ok('ps', '--format', 'json', id)), [pid]);
  assert.equal(JSON.parse(ok('events', '--stats', id)).data.pids.limit, 55);
  ok('kill', id, 'KILL');
  while (JSON.parse(ok('state', id)).status !== 'stopped');
  ok('delete', id);
  assert.equal(existsSync(scope), false);
  assert.equal(property('LoadState'), 'not-found');
  assert.deepEqual(readdirSync(join(bundle, 'state')), []);
});

test('without a session the error says what is missing', { skip }, () => {
  configure(['true']);
  const { status, stderr } = call(tsrunc, ['run', 'lost'], { env: { PATH: session.PATH } });
  assert.equal(status, 1);
  assert.match(
    stderr,
    /find the D-Bus of the user's systemd: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set: log in by a way that opens a session/,
  );
  assert.deepEqual(readdirSync(join(bundle, 'state')), []);
});

test('features: systemdUser', { skip }, () => {
  const { cgroup } = JSON.parse(asUser([...tsrunc, 'features']).stdout).linux;
  assert.deepEqual([cgroup.systemd, cgroup.systemdUser], [true, true]);
});

// With the cgroupfs driver, in a scope that the user has been delegated.
for (const [name, command] of [
  ['tsrunc', tsrunc],
  ['runc', ['/usr/sbin/runc']],
] as const) {
  test(`${name} in a delegated cgroup: limits apply without systemd`, { skip }, () => {
    configure(['sh', '-c', READ]);
    const scope = ['systemd-run', '--user', '--scope', '--quiet', '--property', 'Delegate=yes'];
    const root = ['--root', join(bundle, 'state')];
    const { status, stdout, stderr } = asUser([...scope, ...command, ...root, 'run', 'by-hand']);
    assert.deepEqual([status, stdout], [0, '44\n67108864\n0::/\n'], stderr);
  });
}
