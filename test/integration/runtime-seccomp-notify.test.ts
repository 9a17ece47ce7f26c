// tsrunc: SCMP_ACT_NOTIFY. An agent of the test's own listens, gets the state of the process with the listener's fd, and
// answers for the kernel.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { agentPath, createWithAgent, notifyOfMkdir, withAgent } from '../fixtures/seccomp-agent.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot || (process.arch !== 'x64' ? 'numbers of x86-64' : false) };

const MKDIR = 83;
const MKDIRAT = 258;

for (const noNewPrivileges of [true, false]) {
  test(`run: the agent answers, noNewPrivileges ${noNewPrivileges}`, options, async () => {
    const id = runtime.newId();
    runtime.configure((config) => {
      config.process.args = ['sh', '-c', 'mkdir /tmp/x; echo $?'];
      config.process.noNewPrivileges = noNewPrivileges;
      config.annotations = { 'a.key': 'a value' };
      config.linux.seccomp = notifyOfMkdir(runtime);
    });
    const { state, calls, stdout, stderr } = await withAgent(runtime, ['run', id]);
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
      config.linux.seccomp = notifyOfMkdir(runtime);
    });
    createWithAgent(runtime, id);
    runtime.runDetached(['start', id]);
    const init = JSON.parse(runtime.run(['state', id]).stdout).pid;
    const { state, calls, stdout } = await withAgent(runtime, [
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
    config.linux.seccomp = notifyOfMkdir(runtime);
  });
  const { status, error } = runtime.run(['run', id]);
  assert.equal(status, 1);
  assert.equal(
    error,
    `config.json: linux.seccomp.listenerPath: connect to ${agentPath(runtime)}: ENOENT (no such file or directory): start the agent that listens there before the container`,
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
      config.linux.seccomp = { ...notifyOfMkdir(runtime), ...change };
    });
    const { error } = runtime.run(['run', runtime.newId()]);
    assert.equal(error, `config.json: ${message}`);
  });
}
