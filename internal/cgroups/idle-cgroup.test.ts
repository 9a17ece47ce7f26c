import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { removeIdleCgroup } from './idle-cgroup.ts';

// Directories stand in for cgroups: what is inside of one keeps it, as a process does a cgroup.
const dir = mkdtempSync(join(tmpdir(), 'idle-cgroup-'));
after(() => rmSync(dir, { recursive: true, force: true }));

function make(name: string, ...controllers: string[]): Record<string, string> {
  return Object.fromEntries(
    controllers.map((controller) => {
      const path = join(dir, name, controller === '' ? 'unified' : controller);
      mkdirSync(path, { recursive: true });
      return [controller, path];
    }),
  );
}

const left = (paths: Record<string, string>) => Object.values(paths).filter(existsSync);

test('an idle cgroup is removed from every hierarchy, and where it is gone already', () => {
  const paths = make('idle', 'cpu', 'freezer', 'pids', '');
  rmSync(paths['pids'] ?? '', { recursive: true });
  assert.equal(removeIdleCgroup({ ...paths, cpuacct: paths['cpu'] ?? '' }), true);
  assert.deepEqual(left(paths), []);
});

test('of one with processes in it nothing is removed', () => {
  const paths = make('busy', 'cpu', 'freezer', 'pids', '');
  mkdirSync(join(paths['freezer'] ?? '', 'inside'));
  assert.equal(removeIdleCgroup(paths), false);
  assert.deepEqual(left(paths), Object.values(paths));
});

test('what only another hierarchy keeps is told', () => {
  const paths = make('other', 'freezer', 'pids');
  mkdirSync(join(paths['pids'] ?? '', 'inside'));
  assert.equal(removeIdleCgroup(paths), false);
});

test('a container without cgroups has none to remove', () => {
  assert.equal(removeIdleCgroup({}), true);
});
