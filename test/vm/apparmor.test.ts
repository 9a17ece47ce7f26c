// AppArmor: profiles of processes, in the machine, where it is on.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Config, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { skipTwins, Twins } from '../fixtures/twins.ts';
import { machineOnly } from './machine.ts';

const skip = machineOnly();
const fixture = skip === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;

/** Two that allow everything but one file each, and one for the runtime, which may start processes with the first of them. */
const PROFILES = [
  ['one', 'deny /tmp/not-one rwlx'],
  ['two', 'deny /tmp/not-two rwlx'],
  ['runtime', 'change_profile -> tsrunc-test-one'],
]
  .map(
    ([name, rule]) =>
      `profile tsrunc-test-${name} flags=(attach_disconnected, mediate_deleted) {
  file, capability, network, mount, umount, pivot_root, signal, ptrace, unix, dbus,
  ${rule},
}`,
  )
  .join('\n');

function apparmorParser(flag: string): void {
  const input = `abi <abi/4.0>,\n${PROFILES}\n`;
  const { status, stderr } = spawnSync('apparmor_parser', ['--skip-cache', flag], {
    input,
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
}

before(() => {
  if (fixture === undefined) return;
  apparmorParser('--replace');
  for (const name of ['not-one', 'not-two']) {
    writeFileSync(join(fixture.rootfs, 'tmp', name), `${name}\n`);
  }
});
after(() => {
  if (fixture === undefined) return;
  fixture[Symbol.dispose]();
  apparmorParser('--remove');
});

const profile = (name: string) => (config: Config) => {
  config.process.apparmorProfile = name;
};
const READ = 'cat /proc/self/attr/current /tmp/not-one /tmp/not-two 2>&1';
const denied = (name: string) => `cat: can't open '/tmp/${name}': Permission denied\n`;

test('a process without a profile is unconfined', { skip }, () => {
  const { stdout, error } = runtime.runScript(READ);
  assert.equal(stdout, 'unconfined\nnot-one\nnot-two\n', error);
});

test('process.apparmorProfile confines the process, with or without new privileges', {
  skip,
}, () => {
  for (const noNewPrivileges of [true, false]) {
    const { stdout, error } = runtime.runScript(READ, (config) => {
      profile('tsrunc-test-one')(config);
      config.process.noNewPrivileges = noNewPrivileges;
    });
    assert.equal(stdout, `tsrunc-test-one (enforce)\n${denied('not-one')}not-two\n`, error);
  }
});

test('exec: the profile of the configuration, of --apparmor, of --process', { skip }, () => {
  const id = runtime.newId();
  runtime.startSleeping(id, profile('tsrunc-test-one'));
  const { pid } = JSON.parse(runtime.run(['state', id]).stdout);
  const label = readFileSync(`/proc/${pid}/attr/apparmor/current`, 'latin1');
  assert.equal(label, 'tsrunc-test-one (enforce)\n');
  const exec = (...flags: string[]) => runtime.run(['exec', ...flags, id, 'sh', '-c', READ]).stdout;
  assert.equal(exec(), `tsrunc-test-one (enforce)\n${denied('not-one')}not-two\n`);
  const two = `tsrunc-test-two (enforce)\nnot-one\n${denied('not-two')}`;
  assert.equal(exec('--apparmor', 'tsrunc-test-two'), two);
  const file = join(runtime.directory, 'process.json');
  const process = {
    args: ['sh', '-c', READ],
    cwd: '/',
    env: ['PATH=/bin'],
    apparmorProfile: 'tsrunc-test-two',
  };
  writeFileSync(file, JSON.stringify(process));
  assert.equal(runtime.run(['exec', '--process', file, id]).stdout, two);

  const unknown = runtime.run(['exec', '--apparmor', 'tsrunc-test-none', id, 'true']);
  assert.equal(
    unknown.error,
    'set process.apparmorProfile tsrunc-test-none: ENOENT (no such file or directory): load the profile tsrunc-test-none into the kernel with apparmor_parser --replace',
  );
  runtime.run(['delete', '--force', id]);
  assert.deepEqual(runtime.leftovers(id), []);
});

test('a profile that is not loaded is named, and nothing is left', { skip }, () => {
  const id = runtime.newId();
  runtime.configure(profile('tsrunc-test-none'));
  const { status, error } = runtime.runDetached(['create', id]);
  assert.deepEqual(
    [status, error],
    [
      1,
      'set process.apparmorProfile tsrunc-test-none: ENOENT (no such file or directory): load the profile tsrunc-test-none into the kernel with apparmor_parser --replace',
    ],
  );
  assert.deepEqual(runtime.leftovers(id), []);
});

test('tsrunc that is confined itself: only profiles that its own allows, and the error says so', {
  skip,
}, () => {
  const command = ['aa-exec', '-p', 'tsrunc-test-runtime', '--', ...runtime.command];
  const outcomes = ['one', 'two'].map((name) => {
    const id = runtime.newId();
    runtime.configure((config) => {
      profile(`tsrunc-test-${name}`)(config);
      config.process.args = ['sh', '-c', READ];
      // With it the kernel lets no confined process into another profile: execve would be EPERM.
      config.process.noNewPrivileges = false;
    });
    const { stdout, error } = runtime.run(['run', id], { command });
    assert.deepEqual(runtime.leftovers(id), []);
    return { stdout, error };
  });
  assert.deepEqual(outcomes, [
    { stdout: `tsrunc-test-one (enforce)\n${denied('not-one')}not-two\n`, error: '' },
    {
      stdout: '',
      error:
        'set process.apparmorProfile tsrunc-test-two: EACCES (permission denied): tsrunc itself is confined: allow "change_profile -> tsrunc-test-two," in its own profile (dmesg | grep apparmor)',
    },
  ]);
});

// The kernel takes the name of the profile, and refuses to change to it when the program is executed.
test('tsrunc that is confined itself, and no new privileges: run and exec say that these exclude each other', {
  skip,
}, () => {
  const command = ['aa-exec', '-p', 'tsrunc-test-runtime', '--', ...runtime.command];
  const confined = (config: Config) => {
    profile('tsrunc-test-one')(config);
    config.process.noNewPrivileges = true;
  };
  const error =
    'exec /bin/sh: EPERM (operation not permitted): tsrunc itself is confined by AppArmor and may get no new privileges: run it without the one or the other, or set process.noNewPrivileges to false';
  const id = runtime.newId();
  runtime.configure((config) => {
    confined(config);
    config.process.args = ['/bin/sh', '-c', 'true'];
  });
  assert.equal(runtime.run(['run', id], { command }).error, error);
  assert.deepEqual(runtime.leftovers(id), []);

  const sleeping = runtime.newId();
  runtime.startSleeping(sleeping, confined); // by one that is not confined
  const exec = ['exec', sleeping, '/bin/sh', '-c', 'true'];
  assert.equal(runtime.run(exec).error, '');
  assert.equal(runtime.run(exec, { command }).error, error);
  runtime.run(['delete', '--force', sleeping]);
  assert.deepEqual(runtime.leftovers(sleeping), []);
});

test('twins: under runc a profile has the same effect, in run and exec', {
  skip: skip || skipTwins,
}, () => {
  using twins = new Twins();
  const [ours, theirs] = twins.both.map((each) => {
    for (const name of ['not-one', 'not-two']) {
      writeFileSync(join(each.rootfs, 'tmp', name), `${name}\n`);
    }
    const { stdout } = each.runScript(READ, profile('tsrunc-test-one'));
    const id = each.newId();
    each.startSleeping(id, profile('tsrunc-test-one'));
    const executed = [[], ['--apparmor', 'tsrunc-test-two']].map(
      (flags) => each.run(['exec', ...flags, id, 'sh', '-c', READ]).stdout,
    );
    each.run(['delete', '--force', id]);
    return [stdout, ...executed];
  });
  assert.deepEqual(ours, theirs);
  assert.match(ours?.[2] ?? '', /^tsrunc-test-two \(enforce\)$/m);
});

// CVE-2019-16884, CVE-2023-28642: a /proc of the container's own making took the write of the profile, and the container
// ran unconfined.
test('a container with a /proc of its own making is confined, or not made', { skip }, () => {
  const id = runtime.newId();
  const own = join(runtime.rootfs, 'proc/self/attr/apparmor');
  mkdirSync(own, { recursive: true });
  writeFileSync(join(own, 'exec'), '');
  writeFileSync(join(own, '../exec'), '');
  const withProc = (mounts: { destination: string }[]) => (config: Config) => {
    profile('tsrunc-test-one')(config);
    config.mounts = [
      ...config.mounts.filter(
        ({ destination }: { destination: string }) => destination !== '/proc',
      ),
      ...mounts,
    ];
    config.linux.maskedPaths = [];
    config.linux.readonlyPaths = [];
  };
  runtime.startSleeping(id, withProc([]));
  const { pid } = JSON.parse(runtime.run(['state', id]).stdout);
  const label = readFileSync(`/proc/${pid}/attr/apparmor/current`, 'latin1');
  assert.equal(label, 'tsrunc-test-one (enforce)\n');
  for (const name of ['exec', '../exec']) assert.equal(readFileSync(join(own, name), 'utf8'), '');
  runtime.run(['delete', '--force', id]);

  runtime.configure(withProc([{ destination: '/proc', ...{ type: 'tmpfs', source: 'tmpfs' } }]));
  const { status, error } = runtime.runDetached(['create', id]);
  assert.equal(status, 1);
  assert.match(error, /^config\.json: mounts\[\d\]\.type: "tmpfs" on \/proc is not a procfs$/);
  assert.deepEqual(runtime.leftovers(id), []);
});
