// A create that was killed before it wrote the container's state leaves a directory with a copy of the configuration, and
// perhaps a cgroup: `delete` takes both away.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { detectCgroupHost } from '../../internal/cgroups/index.ts';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

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
