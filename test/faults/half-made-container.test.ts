// A create that was killed before it wrote the container's state leaves a directory with a copy of the configuration, and
// perhaps a cgroup and a process that waits for its start: `delete` takes all away.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { detectCgroupHost } from '../../internal/cgroups/index.ts';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { isAlive } from '../fixtures/shim.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;

test('delete --force removes the cgroup of a create that was killed', { skip: needsRoot }, () => {
  const id = runtime.newId();
  const cgroupsPath = `${runtime.cgroupParent}/${id}`;
  runtime.configure((config) => {
    config.linux.cgroupsPath = cgroupsPath;
  });
  const directory = join(runtime.stateRoot, id);
  mkdirSync(directory, { recursive: true });
  copyFileSync(join(runtime.bundle, 'config.json'), join(directory, 'config.json'));
  const made = detectCgroupHost().hierarchies.map(
    ({ mountPoint }) => `${mountPoint}${cgroupsPath}`,
  );
  for (const path of made) mkdirSync(path, { recursive: true });
  assert.equal(runtime.run(['delete', '--force', id]).status, 0);
  assert.deepEqual(
    made.filter((path) => existsSync(path)),
    [],
  );
  assert.equal(existsSync(directory), false);
});

test('delete --force ends the process of a create that was killed', {
  skip: needsRoot,
}, () => {
  const id = runtime.newId();
  const cgroupsPath = `${runtime.cgroupParent}/${id}`;
  runtime.configure((config) => {
    config.linux.cgroupsPath = cgroupsPath;
  });
  const pidFile = join(runtime.stateRoot, `${id}.pid`);
  const created = runtime.runDetached([
    'create',
    '--bundle',
    runtime.bundle,
    '--pid-file',
    pidFile,
    id,
  ]);
  assert.equal(created.status, 0, created.stderr);
  const pid = Number(readFileSync(pidFile, 'latin1'));
  // As if it had been killed in the middle.
  rmSync(join(runtime.stateRoot, id, 'state.json'));
  assert.equal(runtime.run(['delete', '--force', id]).status, 0);
  assert.equal(isAlive(pid), false);
  const left = detectCgroupHost().hierarchies.map((each) => `${each.mountPoint}${cgroupsPath}`);
  assert.deepEqual(
    left.filter((path) => existsSync(path)),
    [],
  );
  assert.equal(existsSync(join(runtime.stateRoot, id)), false);
  rmSync(pidFile);
});
