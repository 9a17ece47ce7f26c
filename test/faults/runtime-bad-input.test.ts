// What tsrunc does with a configuration, a rootfs or an id that is wrong: one error that names it, exit code 1, and no
// cgroup, mount, state or process left behind.
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  type Config,
  cgroupsNamed,
  needsRoot,
  RuntimeFixture,
} from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot ? undefined : new RuntimeFixture();
after(() => fixture?.[Symbol.dispose]());

function the<T>(value: T | undefined): T {
  assert.ok(value !== undefined);
  return value;
}

/** Runs a command that must fail, and checks that it says so once and leaves nothing. */
function refused(args: (id: string) => readonly string[]): string {
  const { run, leftovers, newId } = bound(the(fixture));
  const id = newId('bad');
  const { status, error, stderr } = run(args(id));
  assert.equal(status, 1, `${error} ${stderr}`);
  assert.notEqual(error, '', 'the log has the error');
  assert.equal(stderr.trim().split('\n').length, 1, stderr);
  assert.ok(stderr.includes(error), `stderr has it too: ${stderr}`);
  assert.deepEqual(leftovers(id), []);
  assert.deepEqual(cgroupsNamed(NEW_PARENT), []);
  return error;
}

function bound(of: RuntimeFixture) {
  return {
    run: of.run.bind(of),
    leftovers: of.leftovers.bind(of),
    newId: of.newId.bind(of),
  };
}

/** A cgroup that is not there before, and must not be there after. */
const NEW_PARENT = `tsrunc-bad-${process.pid}`;

const WRONG_CONFIGS: [string, (config: Config) => void, RegExp][] = [
  ['no ociVersion', (config) => delete config.ociVersion, /config\.json: ociVersion: is required/],
  ['no root.path', (config) => delete config.root.path, /config\.json: root\.path: is required/],
  ['no process', (config) => delete config.process, /config\.json: process: is required/],
  [
    'no process.args',
    (config) => delete config.process.args,
    /config\.json: process\.args: is required/,
  ],
  [
    'no process.cwd',
    (config) => delete config.process.cwd,
    /config\.json: process\.cwd: is required/,
  ],
  [
    'unknown namespace',
    (config) => config.linux.namespaces.push({ type: 'netwrk' }),
    /config\.json: linux\.namespaces\[\d\]\.type: unknown namespace "netwrk": use "network"/,
  ],
  [
    'unknown capability',
    (config) => config.process.capabilities.bounding.push('CAP_NOTHING'),
    /config\.json: process\.capabilities\.bounding\[\d\]: unknown capability "CAP_NOTHING"/,
  ],
  [
    'unknown mount option',
    (config) => config.mounts[1].options.push('nosuidd'),
    /config\.json: mounts\[1\]\.options\[\d\]: unknown mount option "nosuidd" for tmpfs: use "nosuid"/,
  ],
  [
    'unknown rlimit',
    (config) => config.process.rlimits.push({ type: 'RLIMIT_FILES', hard: 1, soft: 1 }),
    /config\.json: process\.rlimits\[1\]\.type: unknown rlimit "RLIMIT_FILES"/,
  ],
  [
    'uid beyond 32 bits',
    (config) => {
      config.process.user.uid = 2 ** 32;
    },
    /config\.json: process\.user\.uid: 4294967296 is not between 0 and 4294967294/,
  ],
  [
    'sysctl that smuggles a second line',
    (config) => {
      config.linux.sysctl = { 'net.ipv4.ip_forward': '1\nkernel.core_pattern=|/x' };
    },
    /config\.json: linux\.sysctl\["net\.ipv4\.ip_forward"\]: .* contains a control character/,
  ],
  [
    'rootfs that is not there',
    (config) => {
      config.root.path = 'no-such-rootfs';
    },
    /no-such-rootfs.*(ENOENT|does not exist|no such)/,
  ],
  [
    'limit that the kernel refuses',
    (config) => {
      config.linux.resources.cpu = { cpus: '4000' };
    },
    /linux\.resources\.cpu\.cpus: write "4000" to \/.*\/cpuset\.cpus: E/,
  ],
  [
    'mount source that is not there',
    (config) =>
      config.mounts.push({ destination: '/x', source: '/no/such/source', options: ['bind'] }),
    /\/no\/such\/source.*ENOENT/,
  ],
  [
    'program that is not there, in a cgroup with new parents',
    (config) => {
      config.process.args = ['/no/such/program'];
      config.linux.cgroupsPath = `/${NEW_PARENT}/below/c`;
    },
    /\/no\/such\/program/,
  ],
  [
    'cgroup path of the systemd driver',
    (config) => {
      config.linux.cgroupsPath = 'system.slice:cri:x';
    },
    /"system\.slice:cri:x" is for the systemd cgroup driver, which is off/,
  ],
];

for (const [what, change, expected] of WRONG_CONFIGS) {
  for (const command of ['create', 'run']) {
    test(`${command}: ${what}`, { skip: needsRoot }, () => {
      const { bundle } = the(fixture);
      the(fixture).configure(change);
      assert.match(
        refused((id) => [command, '--bundle', bundle, id]),
        expected,
      );
    });
  }
}

test('create: config.json is not JSON, or not there', { skip: needsRoot }, () => {
  const { bundle } = the(fixture);
  const file = join(bundle, 'config.json');
  writeFileSync(file, '{"ociVersion": "1.0.2",\n}');
  const notJson = refused((id) => ['create', '--bundle', bundle, id]);
  assert.match(notJson, /config\.json: not JSON: line 2, column 1: unexpected "\}"/);
  rmSync(file);
  assert.match(
    refused((id) => ['create', '--bundle', bundle, id]),
    /config\.json.*ENOENT/,
  );
});

test('create: ids with slashes and dots never become paths', { skip: needsRoot }, () => {
  const { bundle } = the(fixture);
  the(fixture).configure();
  for (const id of ['a/b', '../x', '..', '.', 'a b', '', 'ä', 'x\ny']) {
    const error = refused(() => ['create', '--bundle', bundle, id]);
    assert.match(error, /invalid container ID format|container id|ID/i, JSON.stringify(id));
  }
});

test('create: the same id a second time leaves the first alone', { skip: needsRoot }, () => {
  const { bundle } = the(fixture);
  const id = the(fixture).newId('twice');
  the(fixture).startSleeping(id);
  const before = the(fixture).run(['state', id]).stdout;
  const again = the(fixture).run(['create', '--bundle', bundle, id]);
  assert.equal(again.status, 1);
  assert.match(again.error, /already exists/);
  assert.equal(the(fixture).run(['state', id]).stdout, before);
  assert.equal(the(fixture).runDetached(['delete', '--force', id]).status, 0);
  assert.deepEqual(the(fixture).leftovers(id), []);
});
