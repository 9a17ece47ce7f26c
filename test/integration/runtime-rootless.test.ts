// tsrunc for a user without privileges: `spec --rootless`, run, exec, kill, delete, with his own id alone mapped.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const UID = 65534;
const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot === false ? false : 'becomes another user: needs root' };
const bundle = join(fixture?.directory ?? '', 'rootless');
const state = join(bundle, 'state');
after(() => {
  if (fixture === undefined) return;
  asUser(['delete', '--force', 'sleeping']);
  fixture[Symbol.dispose]();
});

function asUser(args: readonly string[], stdio: 'pipe' | 'ignore' = 'pipe') {
  const [program = '', ...prefix] = runtime.command;
  return spawnSync(program, [...prefix, '--root', state, ...args], {
    cwd: bundle,
    uid: UID,
    gid: UID,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
    stdio: ['ignore', stdio, stdio],
    timeout: 30_000,
  });
}

function configure(...args: string[]): void {
  const path = join(bundle, 'config.json');
  const config = JSON.parse(readFileSync(path, 'utf8'));
  config.process.terminal = false;
  config.process.args = args;
  config.root.path = runtime.rootfs;
  writeFileSync(path, JSON.stringify(config));
}

before(() => {
  if (fixture === undefined) return;
  chmodSync(runtime.directory, 0o755);
  mkdirSync(bundle);
  chownSync(bundle, UID, UID);
});

test("spec --rootless writes a configuration with the user's own id mapped", options, () => {
  const { status, stderr } = asUser(['spec', '--rootless']);
  assert.equal(status, 0, stderr);
  const { linux } = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'));
  assert.deepEqual(linux.uidMappings, [{ containerID: 0, hostID: UID, size: 1 }]);
});

test('run: root inside is the user outside', options, () => {
  configure('sh', '-c', 'id -u; cat /proc/self/uid_map | tr -s " "; hostname');
  const { status, stdout, stderr } = asUser(['run', 'first']);
  assert.equal(status, 0, stderr);
  assert.equal(stdout, `0\n 0 ${UID} 1\ntsrunc\n`);
});

test('create, start, exec, kill, delete', options, () => {
  configure('sleep', '1000');
  assert.equal(asUser(['create', 'sleeping'], 'ignore').status, 0);
  assert.equal(asUser(['start', 'sleeping']).stderr, '');
  const { pid, status } = JSON.parse(asUser(['state', 'sleeping']).stdout);
  assert.equal(status, 'running');
  assert.match(readFileSync(`/proc/${pid}/status`, 'latin1'), new RegExp(`Uid:\\s+${UID}\\s`));
  const inside = asUser(['exec', 'sleeping', 'sh', '-c', 'id -u; tr "\\0" " " < /proc/1/cmdline']);
  assert.equal(inside.stderr, '');
  assert.equal(inside.stdout, '0\nsleep 1000 ');
  assert.equal(asUser(['kill', 'sleeping', 'KILL']).status, 0);
  while (JSON.parse(asUser(['state', 'sleeping']).stdout).status !== 'stopped');
  assert.equal(asUser(['delete', 'sleeping']).stderr, '');
});
