// tsrunc: SCMP_ACT_NOTIFY. An agent of the test's own listens, gets the state of the process with the listener's fd, and
// answers for the kernel.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  acceptUnix,
  blockUntilReadable,
  listenUnix,
  type OwnedFd,
  receiveFds,
} from '../../internal/linux/index.ts';
import { rawSyscall } from '../../internal/linux/syscall.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot || (process.arch !== 'x64' ? 'numbers of x86-64' : false) };
const path = () => join(runtime.directory, 'agent.sock');

/** struct seccomp_notif: id, pid, flags, then seccomp_data; struct seccomp_notif_resp: id, val, error, flags. */
const NOTIFICATION_BYTES = 80;
const RESPONSE_BYTES = 24;
const SECCOMP_IOCTL_NOTIF_RECV = 0xc0502100;
const SECCOMP_IOCTL_NOTIF_SEND = 0xc0182101;
const MKDIR = 83;
const MKDIRAT = 258;

interface Seen {
  readonly state: Config;
  readonly calls: number[];
}

/** Takes one container's listener and answers each call with an errno, until the process is gone. */
async function serve(socket: OwnedFd, errno: number, isOver: () => boolean): Promise<Seen> {
  const readable = async (fd: OwnedFd): Promise<boolean> => {
    while (!isOver()) {
      if (blockUntilReadable(fd.number, 0)) return true;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return false;
  };
  assert.ok(await readable(socket), 'nobody has connected');
  using connection = acceptUnix(socket);
  const { data, fds } = receiveFds(connection.number, 65_536);
  const [listener] = fds;
  assert.ok(listener !== undefined && fds.length === 1, 'one fd');
  const calls: number[] = [];
  while (await readable(listener)) {
    const notification = Buffer.alloc(NOTIFICATION_BYTES);
    const got = rawSyscall('ioctl', listener.number, SECCOMP_IOCTL_NOTIF_RECV, notification);
    if (got < 0) break; // the process is gone
    calls.push(notification.readInt32LE(16));
    const response = Buffer.alloc(RESPONSE_BYTES);
    notification.copy(response, 0, 0, 8);
    response.writeInt32LE(-errno, 16);
    rawSyscall('ioctl', listener.number, SECCOMP_IOCTL_NOTIF_SEND, response);
  }
  listener.close();
  return { state: JSON.parse(data.toString()), calls };
}

const PROFILE = () => ({
  defaultAction: 'SCMP_ACT_ALLOW',
  listenerPath: path(),
  listenerMetadata: 'cookie=7',
  flags: ['SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV'],
  syscalls: [{ names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_NOTIFY' }],
});

/** Runs a command of tsrunc while an agent listens. */
async function withAgent(args: string[]): Promise<Seen & { stdout: string; stderr: string }> {
  using socket = listenUnix(path());
  const [program = '', ...prefix] = runtime.command;
  const child = spawn(program, [...prefix, '--root', runtime.stateRoot, ...args], {
    cwd: runtime.bundle,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const texts = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => (texts.stdout += chunk));
  child.stderr.on('data', (chunk) => (texts.stderr += chunk));
  let isOver = false;
  const closed = once(child, 'close').then(() => (isOver = true));
  try {
    const seen = await serve(socket, 95, () => isOver);
    await closed;
    return { ...seen, ...texts };
  } catch (thrown) {
    throw new Error(texts.stderr, { cause: thrown });
  } finally {
    child.kill('SIGKILL');
    rmSync(path());
  }
}

for (const noNewPrivileges of [true, false]) {
  test(`run: the agent answers, noNewPrivileges ${noNewPrivileges}`, options, async () => {
    const id = runtime.newId();
    runtime.configure((config) => {
      config.process.args = ['sh', '-c', 'mkdir /tmp/x; echo $?'];
      config.process.noNewPrivileges = noNewPrivileges;
      config.annotations = { 'a.key': 'a value' };
      config.linux.seccomp = PROFILE();
    });
    const { state, calls, stdout, stderr } = await withAgent(['run', id]);
    assert.equal(stdout, '1\n', stderr);
    assert.match(stderr, /Operation not supported|Not supported/);
    assert.equal(calls.length, 1);
    assert.ok(calls.every((number) => number === MKDIR || number === MKDIRAT));
    const { pid } = state;
    assert.ok(pid > 1);
    assert.deepEqual(state, {
      ociVersion: state.ociVersion,
      fds: ['seccompFd'],
      pid,
      metadata: 'cookie=7',
      state: {
        ociVersion: state.state.ociVersion,
        id,
        status: 'creating',
        pid,
        bundle: runtime.bundle,
        annotations: { 'a.key': 'a value' },
      },
    });
    assert.deepEqual(runtime.leftovers(id), []);
  });
}

test(
  'exec: a listener of its own, with the pid of the process and the state of the container',
  options,
  async () => {
    const id = runtime.newId();
    runtime.configure((config) => {
      config.process.args = ['sleep', '1000'];
      config.linux.seccomp = PROFILE();
    });
    {
      using socket = listenUnix(path());
      const { error } = runtime.runDetached(['create', id]);
      assert.equal(error, '');
      using connection = acceptUnix(socket);
      for (const fd of receiveFds(connection.number, 65_536).fds) fd.close();
      rmSync(path());
    }
    runtime.runDetached(['start', id]);
    const init = JSON.parse(runtime.run(['state', id]).stdout).pid;
    const { state, calls, stdout } = await withAgent([
      'exec',
      id,
      'sh',
      '-c',
      'mkdir /tmp/x; echo $?',
    ]);
    assert.equal(stdout, '1\n');
    assert.equal(calls.length, 1);
    assert.equal(state.state.status, 'running');
    assert.equal(state.state.pid, init);
    assert.notEqual(state.pid, init);
    runtime.run(['delete', '--force', id]);
    assert.deepEqual(runtime.leftovers(id), []);
  },
);

test('nobody listens: the container is not made', options, () => {
  const id = runtime.newId();
  runtime.configure((config) => {
    config.linux.seccomp = PROFILE();
  });
  const { status, error } = runtime.run(['run', id]);
  assert.equal(status, 1);
  assert.equal(
    error,
    `config.json: linux.seccomp.listenerPath: connect to ${path()}: ENOENT (no such file or directory): start the agent that listens there before the container`,
  );
  assert.deepEqual(runtime.leftovers(id), []);
});

const REFUSED: [string, object, string][] = [
  [
    'without a socket',
    { listenerPath: undefined, listenerMetadata: undefined },
    'linux.seccomp.listenerPath: is required for SCMP_ACT_NOTIFY (syscalls[0])',
  ],
  [
    'of write',
    { syscalls: [{ names: ['write'], action: 'SCMP_ACT_NOTIFY' }] },
    'linux.seccomp.syscalls[0].names: SCMP_ACT_NOTIFY of "write" would stop the runtime itself',
  ],
  [
    'of everything',
    { defaultAction: 'SCMP_ACT_NOTIFY' },
    'linux.seccomp.defaultAction: SCMP_ACT_NOTIFY would stop the runtime itself',
  ],
];
for (const [what, change, message] of REFUSED) {
  test(`refused: a notification ${what}`, options, () => {
    runtime.configure((config) => {
      config.linux.seccomp = { ...PROFILE(), ...change };
    });
    const { error } = runtime.run(['run', runtime.newId()]);
    assert.equal(error, `config.json: ${message}`);
  });
}
