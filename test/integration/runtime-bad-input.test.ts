// tsrunc: configurations and command lines that are wrong. Each gets one error that names the property or the step, a
// non-zero exit, and leaves nothing behind.
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };

const CONFIGS: [string, (config: Config) => void, string][] = [
  ['no process', (c) => delete c.process, 'config.json: process: is required'],
  ['no args', (c) => delete c.process.args, 'config.json: process.args: is required'],
  ['empty args', (c) => (c.process.args = []), 'config.json: process.args: is empty'],
  ['no root', (c) => delete c.root, 'config.json: root: is required'],
  [
    'a rootfs that is not there',
    (c) => (c.root.path = 'nowhere'),
    'config.json: root.path: open BUNDLE/nowhere: ENOENT (no such file or directory)',
  ],
  [
    'a rootfs that is a file',
    (c) => (c.root.path = 'config.json'),
    'config.json: root.path: open BUNDLE/config.json: ENOTDIR (not a directory)',
  ],
  [
    'an unknown namespace',
    (c) => c.linux.namespaces.unshift({ type: 'nope' }),
    'config.json: linux.namespaces[0].type: ',
  ],
  [
    'an unknown capability',
    (c) => c.process.capabilities.bounding.push('CAP_NOPE'),
    'config.json: process.capabilities.bounding[3]: ',
  ],
  [
    'an unknown rlimit',
    (c) => c.process.rlimits.push({ type: 'RLIMIT_NOPE', soft: 1, hard: 1 }),
    'config.json: process.rlimits[1].type: ',
  ],
  [
    'an unknown mount option',
    (c) => c.mounts.push({ destination: '/m', type: 'tmpfs', source: 't', options: ['nope'] }),
    'config.json: mounts[7].options[0]: unknown mount option "nope" for tmpfs',
  ],
  [
    'no mount namespace',
    (c) => {
      c.linux.namespaces = [{ type: 'pid' }];
      c.linux.maskedPaths = undefined;
      c.linux.readonlyPaths = undefined;
      c.hostname = undefined;
    },
    'config.json: linux.namespaces: has no mount namespace: add {"type": "mount"} to linux.namespaces',
  ],
  [
    'a bandwidth of memory that is none',
    (c) => (c.linux.intelRdt = { memBwSchema: 'L3:0=f' }),
    'config.json: linux.intelRdt.memBwSchema: "L3:0=f" does not start with "MB:"',
  ],
  [
    'a sysctl of the host',
    (c) => (c.linux.sysctl = { 'kernel.panic': '1' }),
    'config.json: linux.sysctl["kernel.panic"]: is not of a namespace: setting it would change the host',
  ],
  [
    'a sysctl that is not there',
    (c) => (c.linux.sysctl = { 'net.nope': '1' }),
    'set sysctl net.nope=1: ENOENT (no such file or directory)',
  ],
  [
    'a terminal without a console socket',
    (c) => (c.process.terminal = true),
    'cannot allocate tty if tsrunc will detach without setting console socket: give --console-socket, or set process.terminal to false',
  ],
  [
    'a program that is not there',
    (c) => (c.process.args = ['nope']),
    'exec: "nope": executable file not found in $PATH (/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin): ENOENT (no such file or directory)',
  ],
  [
    'a memory limit that is no number',
    (c) => (c.linux.resources.memory = { limit: 'much' }),
    'config.json: linux.resources.memory.limit: ',
  ],
  [
    'a file system that refuses its options',
    (c) => c.mounts.push({ destination: '/m', type: 'ext4', source: '/dev/null' }),
    'mount ext4 on /m: ',
  ],
];
for (const [what, change, message] of CONFIGS) {
  test(`create with ${what}`, options, () => {
    const id = runtime.newId();
    runtime.configure(change);
    const { status, error } = runtime.runDetached(['create', id]);
    const expected = message.replace('BUNDLE', runtime.bundle);
    assert.equal(status, 1);
    if (expected.endsWith(': ')) assert.equal(error.slice(0, expected.length), expected);
    else assert.equal(error, expected);
    assert.deepEqual(runtime.leftovers(id), []);
  });
}

for (const [what, text] of [
  ['is not JSON', '{"ociVersion": '],
  ['is empty', ''],
  ['is a list', '[]'],
] as const) {
  test(`create with a config.json that ${what}`, options, () => {
    const id = runtime.newId();
    writeFileSync(join(runtime.bundle, 'config.json'), text);
    const { status, error } = runtime.runDetached(['create', id]);
    assert.equal(status, 1);
    assert.match(error, /^config\.json: /);
    assert.deepEqual(runtime.leftovers(id), []);
  });
}

test('create without a config.json', options, () => {
  const id = runtime.newId();
  rmSync(join(runtime.bundle, 'config.json'), { force: true });
  assert.equal(
    runtime.runDetached(['create', id]).error,
    `read ${runtime.bundle}/config.json: ENOENT (no such file or directory): make one with: tsrunc spec`,
  );
  assert.deepEqual(runtime.leftovers(id), []);
});

for (const id of ['a/b', '..', '.', '', 'a b', '../x', 'ä']) {
  test(`create with the id ${JSON.stringify(id)}`, options, () => {
    runtime.configure();
    const { status, error } = runtime.runDetached(['create', id]);
    assert.equal(status, 1);
    assert.equal(
      error,
      `container id ${JSON.stringify(id)}: invalid container ID format: use only letters, digits and _ + - . in a container id`,
    );
  });
}

test('a second create of the same id leaves the first alone', options, () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  const { status, error } = runtime.runDetached(['create', id]);
  assert.equal(status, 1);
  assert.equal(error, `${id}: container with given ID already exists`);
  assert.equal(JSON.parse(runtime.run(['state', id]).stdout).status, 'running');
  runtime.run(['delete', '--force', id]);
  assert.deepEqual(runtime.leftovers(id), []);
});

const COMMAND_LINES: [string[], string][] = [
  [['create'], 'tsrunc: "create" requires exactly 1 argument(s)'],
  [['state', 'a', 'b'], 'tsrunc: "state" requires exactly 1 argument(s)'],
  [['kill'], 'tsrunc: "kill" requires a minimum of 1 argument(s)'],
  [['kill', 'a', 'b', 'c'], 'tsrunc: "kill" requires a maximum of 2 argument(s)'],
  [['state', '--nope', 'a'], 'flag provided but not defined: -nope'],
  [['state', 'never-was'], 'never-was: container does not exist'],
  [['start', 'never-was'], 'never-was: container does not exist'],
  [['kill', 'never-was'], 'never-was: container does not exist'],
  [['delete', 'never-was'], 'never-was: container does not exist'],
  [['list', '--format', 'xml'], 'invalid format option: xml'],
];
for (const [args, message] of COMMAND_LINES) {
  test(`tsrunc ${args.join(' ')}`, options, () => {
    const { status, error, stderr } = runtime.run(args);
    assert.deepEqual(
      { status, error, stderr },
      { status: 1, error: message, stderr: `${message}\n` },
    );
  });
}

test('an unknown signal is refused by name', options, () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  assert.equal(runtime.run(['kill', id, 'NOPE']).error, 'unknown signal "NOPE"');
  assert.equal(runtime.run(['kill', id, '99']).error, 'unknown signal "99"');
  runtime.run(['delete', '--force', id]);
});
